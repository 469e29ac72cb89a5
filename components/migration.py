"""Runs a service's migration: a Job with the service's image that ends before the service is rolled out."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor
from pulumi_kubernetes import batch

from components.pod import job_spec
from components.program import in_thread
from services.workloads import Migration
from slipway.cluster.client import Cluster, ClusterError, NotFoundError
from slipway.cluster.diagnosis.model import Object, has_failed, object_at, text_at, uid_of
from slipway.state.checkpoint import MIGRATION_LABEL, ResourceState, Snapshot, resources
from slipway.state.kubernetes_objects import (
    APPLIED_IS_ENOUGH,
    DESTRUCTIVE_ANNOTATION,
    ENVIRONMENT_ANNOTATION,
    IDENTITY,
    RUN_ANNOTATION,
    identity_of,
    images_of,
    migration_of,
    migrations,
)
from slipway.values import opened

# The program waits for the end of a migration; one that fails is not tried again in the same update.
TRIES = 0


@dataclass
class RecordedMigrations:
    """The migrations in the stack's present state and the images that are rolled out, by service. `connect` makes the
    client for the cluster, on first use. With `again`, each migration runs, whatever is recorded.
    """

    connect: Callable[[], Cluster]
    by_service: Mapping[str, ResourceState] = field(default_factory=dict)
    rolled_out: Mapping[str, Collection[str]] = field(default_factory=dict)
    again: bool = False

    @classmethod
    def of(cls, connect: Callable[[], Cluster], present: Snapshot, *, again: bool = False) -> RecordedMigrations:
        rolled_out: dict[str, set[str]] = defaultdict(set)
        for each in resources(present):
            if each.service and not migration_of(each):
                rolled_out[each.service].update(images_of(each))
        return cls(connect, migrations(resources(present)), rolled_out, again)

    def job(
        self, service: str, namespace: str, image: str, identity: Mapping[str, str], declared_spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Name and spec of the Job to declare; `identity` is what `identity_of` returns for it.

        The same image, command and environment variables run once. Their Job stays as recorded unless it has failed,
        even if other parts of the service change, or if the Job was deleted after the image was rolled out. After a
        failure it is another Job, under another name.
        """
        recorded = self.by_service.get(service)
        known = opened(recorded.inputs) if recorded is not None else {}
        known_name = text_at(known, "metadata", "name")
        if recorded is not None and not self.again and identity_of(recorded) == identity:
            live = self._live(namespace, known_name)
            if not has_failed(live) and (live or image in self.rolled_out.get(service, ())):
                return {"name": known_name, "spec": known["spec"]}
        digest = _hash([identity[RUN_ANNOTATION], declared_spec])
        name = f"{service}-{digest[:8]}"
        live = self._live(namespace, name)
        while name == known_name or has_failed(live) or (live and self.again):
            name = f"{service}-{_hash([digest, name, uid_of(live)])[:8]}"
            live = self._live(namespace, name)
        return {"name": name, "spec": dict(declared_spec)}

    def _live(self, namespace: str, name: str) -> Object:
        """The Job in the cluster; empty if there is none of that name."""
        try:
            return self._cluster.read(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}")
        except NotFoundError:
            return {}
        except ClusterError as error:
            raise pulumi.RunError(f"The Job of the migration cannot be read: {error}") from error

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
    """The Job of service `name`: its pods have the Deployment's `template` with the migration's command.

    Its name is known once the image is: another image is another Job, and the update deletes the previous one.
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
        namespace, declared_spec = text_at(known, "namespace"), object_at(known, "spec")
        declared = declared_spec["template"]["spec"]["containers"][0]
        image = text_at(declared, "image")
        identity = {
            RUN_ANNOTATION: _hash([image, migration.command, migration.args]),
            # Secrets and settings count by the names of their objects, which contain a hash of the content.
            ENVIRONMENT_ANNOTATION: _hash([declared.get("env"), declared.get("env_from")]),
        }
        if isinstance(get_monitor(), MockMonitor):  # there is no cluster to ask
            found = {"name": f"{name}-{_hash([identity, declared_spec])[:8]}", "spec": declared_spec}
        else:
            found = await in_thread(recorded.job, name, namespace, image, identity, declared_spec)
        return {**found, **identity}

    chosen: Output[dict[str, Any]] = Output.all(namespace=metadata["namespace"], spec=spec).apply(choose)
    annotations: dict[str, Any] = {**APPLIED_IS_ENOUGH, **{each: chosen[each] for each in IDENTITY}}
    if migration.destructive:
        annotations[DESTRUCTIVE_ANNOTATION] = "true"
    labels = {**metadata["labels"], MIGRATION_LABEL: name}
    return batch.v1.Job(
        name,
        metadata={**metadata, "name": chosen["name"], "labels": labels, "annotations": annotations},
        spec=chosen["spec"],
        opts=ResourceOptions(parent=parent, depends_on=depends_on),
    )


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
