"""Runs a service's migration: a Job in the service's image that ends before anything of the service is rolled out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor
from pulumi_kubernetes import batch

from components.blocking import in_thread
from components.job import job_spec
from services.workloads import Migration
from slipway.cluster.client import Cluster, ClusterError, NotFoundError
from slipway.cluster.diagnosis.jobs import has_failed
from slipway.cluster.diagnosis.objects import Object, object_at, text_at, uid_of
from slipway.state.checkpoint import MIGRATION_LABEL, ResourceState
from slipway.state.directives import APPLIED_IS_ENOUGH
from slipway.state.migrations import DESTRUCTIVE_ANNOTATION, RUN_ANNOTATION, run_of
from slipway.values import opened

# The program waits for the end of a migration; one that fails is not tried again in the same update.
TRIES = 0


@dataclass
class RecordedMigrations:
    """The migrations in the stack's present state, by the service, and a client for the cluster that they ran in, which
    connects when it is first asked.
    """

    connect: Callable[[], Cluster]
    by_service: Mapping[str, ResourceState] = field(default_factory=dict)

    def job(self, service: str, namespace: str, run: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Name, run and spec of the Job that is to be declared; `run` says which image and command it is of.

        The same image and command run once: a Job of theirs that has not failed stays as it is recorded, whatever else
        of the service changes. After a failure it is another Job, under another name.
        """
        recorded = self.by_service.get(service)
        digest = _hash([run, wanted])
        name = f"{service}-{digest[:8]}"
        if recorded is not None and run_of(recorded) == run:
            known = opened(recorded.inputs)
            known_name = str(object_at(known, "metadata").get("name"))
            if not has_failed(self._live(namespace, known_name)):
                return {"name": known_name, "spec": known["spec"]}
        while has_failed(failed := self._live(namespace, name)):
            name = f"{service}-{_hash([digest, uid_of(failed)])[:8]}"
        return {"name": name, "spec": dict(wanted)}

    def _live(self, namespace: str, name: str) -> Object:
        """The Job in the cluster; empty where it has none of that name."""
        try:
            return self._cluster.read(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}")
        except NotFoundError:
            return {}
        except ClusterError as error:
            raise pulumi.RunError(f"Whether a migration has run already cannot be asked: {error}") from error

    @cached_property
    def _cluster(self) -> Cluster:
        return self.connect()


def migration_job(
    name: str,
    migration: Migration,
    template: Mapping[str, Any],
    metadata: Mapping[str, Any],
    recorded: RecordedMigrations,
    *,
    pod_labels: Mapping[str, str],
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource],
) -> batch.v1.Job:
    """The Job of service `name`, whose pods are those of the Deployment's `template` with the migration's command.

    Its name is known once the image is: another image is another Job, and the one before leaves with the update.
    """
    spec = job_spec(
        template, pod_labels, active_deadline_seconds=migration.active_deadline_seconds, backoff_limit=TRIES
    )
    container = spec["template"]["spec"]["containers"][0]
    container["command"] = migration.command
    container.pop("args", None)
    if migration.args:
        container["args"] = migration.args

    async def choose(known: Mapping[str, Any]) -> dict[str, Any]:
        run = _hash([text_at(known, "image"), migration.command, migration.args])
        if isinstance(get_monitor(), MockMonitor):  # there is no cluster to ask
            return {"name": f"{name}-{_hash([run, object_at(known, 'spec')])[:8]}", "spec": known["spec"], "run": run}
        found = await in_thread(recorded.job, name, text_at(known, "namespace"), run, object_at(known, "spec"))
        return {**found, "run": run}

    chosen: Output[dict[str, Any]] = Output.all(
        image=container["image"], namespace=metadata["namespace"], spec=spec
    ).apply(choose)
    annotations: dict[str, Any] = {**APPLIED_IS_ENOUGH, RUN_ANNOTATION: chosen["run"]}
    if migration.destructive:
        annotations[DESTRUCTIVE_ANNOTATION] = "true"
    labels = {**metadata["labels"], MIGRATION_LABEL: name}
    return batch.v1.Job(
        name,
        metadata={**metadata, "name": chosen["name"], "labels": labels, "annotations": annotations},  # type: ignore[typeddict-item]
        spec=chosen["spec"],
        opts=ResourceOptions(parent=parent, depends_on=depends_on),
    )


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
