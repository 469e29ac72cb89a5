"""Runs a service at the times of a schedule, each time to completion."""

from __future__ import annotations

from typing import Any

from pulumi import ResourceOptions
from pulumi_kubernetes import batch, core, networking

from components.job import job_spec
from components.kubernetes_defaults import COMPONENT_LABEL
from components.workload import Workload, WorkloadArgs
from services.workloads import CronJobSpec


class CronJob(Workload):
    """A CronJob with its ServiceAccount, ConfigMap and NetworkPolicy, and if the spec asks for one, a Secret.

    It is rolled out once it is applied: its next Job runs the new image. `slipway verify` says how the last one ended.
    """

    def __init__(self, name: str, args: WorkloadArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:CronJob", name, args, opts)
        if args.spec.cron_job is None:  # the catalog refuses this
            raise ValueError(f"{args.spec.name} is a CronJob without a schedule")
        applied = self._cron_job(args.spec.cron_job, self._network_policy(), self._config_map(), self._secret())
        self.rolled_out = applied.metadata.apply(lambda _: True)
        self.register_outputs({})

    def _cron_job(
        self,
        schedule: CronJobSpec,
        network_policy: networking.v1.NetworkPolicy,
        config_map: core.v1.ConfigMap,
        secret: core.v1.Secret | None,
    ) -> batch.v1.CronJob:
        template = self._pod_template(self._image(config_map, secret), config_map, secret)
        spec = job_spec(
            template,
            {**self._spec.labels, **self._selector, COMPONENT_LABEL: "cron-job"},
            active_deadline_seconds=schedule.active_deadline_seconds,
            backoff_limit=schedule.backoff_limit,
        )
        cron_job_spec: dict[str, Any] = {
            "schedule": schedule.schedule,
            "time_zone": schedule.time_zone,
            "concurrency_policy": schedule.concurrency_policy,
            "successful_jobs_history_limit": schedule.successful_jobs_history_limit,
            "failed_jobs_history_limit": schedule.failed_jobs_history_limit,
            "suspend": schedule.suspend,
            "job_template": {"metadata": {"labels": self._selector}, "spec": spec},
        }
        if schedule.starting_deadline_seconds is not None:
            cron_job_spec["starting_deadline_seconds"] = schedule.starting_deadline_seconds
        return batch.v1.CronJob(
            self._name,
            metadata=self._metadata(),
            spec=cron_job_spec,
            opts=self._after_callees(network_policy),
        )
