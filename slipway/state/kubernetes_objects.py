"""Kubernetes objects in a recorded state: annotations for the provider, pods, migrations, the Namespace. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.state.checkpoint import HIDDEN, MIGRATION_LABEL, ResourceState, Snapshot
from slipway.state.integrity import repaired
from slipway.values import Secret, mapped

DEPLOYMENT_TYPE = "kubernetes:apps/v1:Deployment"
NAMESPACE_TYPE = "kubernetes:core/v1:Namespace"
HELM_PREFIX = f"{KUBERNETES_PREFIX}helm.sh/"
CRON_JOB_TYPE = "kubernetes:batch/v1:CronJob"
POD_TYPE = "kubernetes:core/v1:Pod"
JOB_TYPE = "kubernetes:batch/v1:Job"
# The annotations tell the provider how to treat an object; the program sets them, and so does a rollback.
# https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/#pulumi-kubernetes-annotations
# The program owns all declared fields, even if another client has set them since. Otherwise, after a `kubectl scale`,
# every update and rollback would end in a field conflict.
PATCH_FORCE = {"pulumi.com/patchForce": "true"}
# An Ingress or a load balancer may never get an address; that is no failure. A claim that is never bound keeps its pod
# from being scheduled; the diagnosis of the rollout reports that.
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
# The program waits for the rollout itself. Unlike with `skipAwait`, the provider still waits until a Deployment is
# deleted, so that its replacement is not applied to the object that is being deleted.
APPLIED_IS_ENOUGH = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
AWAIT = {
    DEPLOYMENT_TYPE: APPLIED_IS_ENOUGH,
    "kubernetes:core/v1:Service": SKIP_AWAIT,
    "kubernetes:core/v1:PersistentVolumeClaim": SKIP_AWAIT,
    "kubernetes:networking.k8s.io/v1:Ingress": SKIP_AWAIT,
}
RUN_ANNOTATION = "slipway.dev/migration-run"
"""On the Job of a migration: a hash of the image and the command, which run together once on each database."""
ENVIRONMENT_ANNOTATION = "slipway.dev/migration-environment"
"""A hash of its environment variables: they determine which database it is."""
IDENTITY = (RUN_ANNOTATION, ENVIRONMENT_ANNOTATION)
DESTRUCTIVE_ANNOTATION = "slipway.dev/migration-destructive"
RERUN_VARIABLE = "SLIPWAY_RERUN_MIGRATIONS"
"""With `1` the program runs every migration again, whatever the state records."""


def directives(type_: str) -> dict[str, str]:
    """The annotations of an object of that type; empty if it is no Kubernetes object."""
    if not type_.startswith(KUBERNETES_PREFIX) or type_.startswith(HELM_PREFIX):
        return {}
    return PATCH_FORCE | AWAIT.get(type_, {})


def directed(resource: ResourceState) -> ResourceState:
    """A recorded object with these annotations among its inputs, as the program declares them today."""
    metadata, required = resource.inputs.get("metadata"), directives(resource.type)
    if not required or not isinstance(metadata, Mapping):
        return resource
    annotations: Mapping[str, Any] = metadata.get("annotations") or {}
    inputs = {**resource.inputs, "metadata": {**metadata, "annotations": {**annotations, **required}}}
    return ResourceState({**resource.raw, "inputs": inputs})


def pod_spec_of(resource: ResourceState) -> Mapping[str, Any]:
    """The `spec` of its pod template, or of the pod itself; empty if there is none. Encrypted values are hidden."""
    found: Any = mapped(resource.inputs.get("spec"), _readable)
    job = ("jobTemplate", "spec") if resource.type == CRON_JOB_TYPE else ()
    template = () if resource.type == POD_TYPE else ("template", "spec")
    for key in (*job, *template):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _readable(value: Any, _path: object) -> Any:
    if not isinstance(value, Secret):
        return value
    return HIDDEN if value.is_encrypted else value.value


def images_of(resource: ResourceState) -> list[str]:
    """The images of its containers, init containers first."""
    pod = pod_spec_of(resource)
    containers = [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]
    return [str(each["image"]) for each in containers if "image" in each]


def migration_of(resource: ResourceState) -> str:
    """The service whose migration the resource is; empty for any other."""
    if resource.type != JOB_TYPE:
        return ""
    return str(_map(_metadata(resource).get("labels")).get(MIGRATION_LABEL, ""))


def migrations(recorded: Iterable[ResourceState]) -> dict[str, ResourceState]:
    """The migrations of a state, by service."""
    return {service: each for each in recorded if (service := migration_of(each))}


def run_of(migration: ResourceState) -> str:
    """The hash of the run: equal for the same command in the same image."""
    return _annotation(migration, RUN_ANNOTATION)


def identity_of(migration: ResourceState) -> dict[str, str]:
    """Both hashes, by annotation: equal for the same command, image and environment variables."""
    return {name: _annotation(migration, name) for name in IDENTITY}


def is_destructive(migration: ResourceState) -> bool:
    return _annotation(migration, DESTRUCTIVE_ANNOTATION) == "true"


def is_suspended(migration: ResourceState) -> bool:
    """Whether a rollback declared it again, so that it does not run."""
    return _map(migration.inputs.get("spec")).get("suspend") is True


def with_suspension(migration: ResourceState, *, suspended: bool) -> ResourceState:
    """The same Job, suspended or not: the cluster runs it or does not."""
    spec = {key: value for key, value in _map(migration.inputs.get("spec")).items() if key != "suspend"}
    spec = {**spec, "suspend": True} if suspended else spec
    return ResourceState({**migration.raw, "inputs": {**migration.inputs, "spec": spec}})


def _annotation(migration: ResourceState, name: str) -> str:
    return str(_map(_metadata(migration).get("annotations")).get(name, ""))


def _metadata(resource: ResourceState) -> Mapping[str, object]:
    return _map(resource.inputs.get("metadata"))


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def has_namespace(state: Snapshot, name: str) -> bool:
    return any(raw["type"] == NAMESPACE_TYPE and raw.get("id") == name for raw in state.get("resources") or ())


def without_namespace(state: Snapshot, name: str) -> Snapshot:
    """The state without that Namespace, and without dependencies on it."""
    kept = [
        raw for raw in state.get("resources") or () if not (raw["type"] == NAMESPACE_TYPE and raw.get("id") == name)
    ]
    return repaired({**state, "resources": kept})
