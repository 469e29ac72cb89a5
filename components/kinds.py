"""The three kinds of services: those that answer on a port, workers that fetch their work, and CronJobs."""

from __future__ import annotations

from typing import Any

from pulumi import Output, ResourceOptions
from pulumi_kubernetes import batch, core, networking

from components import network
from components.kubernetes_defaults import COMPONENT_LABEL
from components.pod import further_ports, job_spec
from components.workload import Workload, WorkloadArgs
from services.spec import PORT_NAME, SERVICE_PORT
from services.workloads import CronJobSpec

WORKER = {COMPONENT_LABEL: "worker"}


class Microservice(Workload):
    """A Deployment with its ServiceAccount, Service, ConfigMap, NetworkPolicy and PodDisruptionBudget, and if the
    spec asks for them, a Secret, a HorizontalPodAutoscaler and an Ingress.
    """

    url: Output[str]

    def __init__(self, name: str, args: WorkloadArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:Microservice", name, args, opts)
        network_policy = self._network_policy()
        service = self._service()
        deployment = self._deployment(network_policy, self._config_map(), self._secret())
        self.depended_on = [deployment]
        self.rolled_out = args.rollouts.complete(deployment)
        self._disruption_budget()
        if self._spec.autoscaling:
            self._autoscaler(self._spec.autoscaling)
        if declared := self._spec.ingress:
            networking.v1.Ingress(
                name,
                metadata=self._metadata(annotations=declared.annotations),
                spec=network.ingress(self._spec, declared),
                opts=self._child(),
            )
        self.url = network.url(self._spec, service, args.rollouts)
        self.register_outputs({"url": self.url})

    def _service(self) -> core.v1.Service:
        exposure = self._spec.service
        own: dict[str, Any] = {
            "name": PORT_NAME,
            "port": SERVICE_PORT,
            "target_port": PORT_NAME,
            "protocol": "TCP",
        }
        if exposure.node_port:
            own["node_port"] = exposure.node_port
        further = [
            {"name": port.name, "port": port.service_port, "target_port": port.name, "protocol": port.protocol}
            for port in further_ports(self._spec)
        ]
        return core.v1.Service(
            self._name,
            metadata=self._metadata(annotations=exposure.annotations),
            spec={"type": exposure.type, "selector": self._selector, "ports": [own, *further]},
            opts=self._child(),
        )


class Worker(Workload):
    """A Deployment without a port, with its ServiceAccount, ConfigMap, NetworkPolicy and PodDisruptionBudget, and if
    the spec asks for them, a Secret and a HorizontalPodAutoscaler.
    """

    def __init__(self, name: str, args: WorkloadArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:Worker", name, args, opts)
        deployment = self._deployment(self._network_policy(), self._config_map(), self._secret())
        self.depended_on = [deployment]
        self.rolled_out = args.rollouts.complete(deployment)
        self._disruption_budget()
        if self._spec.autoscaling:
            self._autoscaler(self._spec.autoscaling)
        self.register_outputs({})

    def _pod_template(
        self, image: Output[str], config_map: core.v1.ConfigMap, secret: core.v1.Secret | None
    ) -> core.v1.PodTemplateSpecArgsDict:
        """Adds the label of a worker, for which the policies do not require every probe."""
        template = super()._pod_template(image, config_map, secret)
        return {
            **template,
            "metadata": {**template["metadata"], "labels": {**template["metadata"]["labels"], **WORKER}},
        }


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
