"""Where the cluster differs from a state: objects that are gone, changed by others, or not of the state at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.cluster.client import Cluster
from slipway.cluster.collections import ApiResource, Key, LiveObjects
from slipway.cluster.deployed import Deployed, cluster_errors, metadata
from slipway.cluster.diagnosis.objects import Object, object_at, text_at
from slipway.cluster.drift import found_inputs, managers
from slipway.engine.events import Urn
from slipway.state.changes import Operation, ResourceChange
from slipway.state.checkpoint import ResourceState
from slipway.state.difference import Difference, difference

MANAGED_BY, PART_OF, NAME = (f"app.kubernetes.io/{name}" for name in ("managed-by", "part-of", "name"))
MANAGER = "pulumi"
# What the program can make: an object of these with its labels is its, whether or not a state knows it.
OWN_KINDS = frozenset(
    ApiResource(version, kind)
    for version, kinds in {
        "v1": ("ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
        "apps/v1": ("Deployment", "StatefulSet", "DaemonSet"),
        "autoscaling/v2": ("HorizontalPodAutoscaler",),
        "batch/v1": ("CronJob", "Job"),
        "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
        "policy/v1": ("PodDisruptionBudget",),
    }.items()
    for kind in kinds
)


@dataclass(frozen=True)
class Drift:
    """`changes` read from the state to the cluster: a deletion is gone from it, a creation is not in the state.

    `changed_by` names, by URN, the field managers that wrote an object beside the program's own; `live` has the objects
    that there are.
    """

    difference: Difference
    changed_by: Mapping[str, tuple[str, ...]]
    live: Mapping[str, Object] = field(default_factory=dict, repr=False)

    @property
    def changes(self) -> tuple[ResourceChange, ...]:
        return self.difference.changes


def find(deployed: Deployed, project: str, others: frozenset[ApiResource] = OWN_KINDS) -> Drift:
    """The drift from a state that is best decrypted; SlipwayError where the cluster does not answer.

    Objects that the state does not know are looked for among its own kinds and `others`.
    """
    recorded = deployed.objects()
    with cluster_errors():
        return drift(recorded, to_read(recorded, deployed.cluster, others), deployed.stack, project)


def to_read(recorded: list[ResourceState], cluster: Cluster, others: frozenset[ApiResource] = OWN_KINDS) -> LiveObjects:
    """All that has to be read to tell the drift of these resources."""
    kinds = {kind_of(each) for each in recorded}
    namespaces = {str(about["namespace"]) for each in recorded if (about := metadata(each)).get("namespace")}
    cluster_wide = frozenset((kind_of(each), name_of(each)) for each in recorded if not metadata(each).get("namespace"))
    return LiveObjects(cluster, frozenset(kinds) | others, frozenset(namespaces), cluster_wide)


def kind_of(resource: ResourceState) -> ApiResource:
    """As its inputs say, else as its type does: `kubernetes:core/v1:Secret` is `v1`, `Secret`."""
    _, version, name = resource.type.split(":", 2)
    version = str(resource.inputs.get("apiVersion") or version.removeprefix("core/"))
    return ApiResource(version, str(resource.inputs.get("kind") or name))


def name_of(resource: ResourceState) -> str:
    return resource.id.rpartition("/")[2] or str(metadata(resource).get("name", ""))


def drift(recorded: list[ResourceState], live: LiveObjects, stack: str, project: str) -> Drift:
    """`recorded` are the state's resources in Kubernetes, best decrypted."""
    by_urn = {each.urn: _find(each, live) for each in recorded}
    found = [_found(each, by_urn[each.urn]) for each in recorded if by_urn[each.urn] is not None]
    told = difference({"resources": [each.raw for each in recorded]}, {"resources": found})
    unknown = _unknown(recorded, live, stack, project)
    everything = tuple(sorted((*told.changes, *unknown), key=lambda each: (each.service, each.resource.kind)))
    there = {urn: item for urn, item in by_urn.items() if item is not None}
    by = {urn: names for urn, item in there.items() if (names := managers(item))}
    return Drift(Difference(everything, told.secrets_compared), by, there)


def _key(resource: ResourceState, live: LiveObjects) -> Key:
    kind = kind_of(resource)
    namespace = str(metadata(resource).get("namespace", "")) if live.is_namespaced(kind) else ""
    return Key(kind, namespace, name_of(resource))


def _find(resource: ResourceState, live: LiveObjects) -> Object | None:
    return live.objects.get(_key(resource, live))


def _found(resource: ResourceState, item: Object | None) -> dict[str, object]:
    return {**resource.raw, "inputs": found_inputs(resource.inputs, item or {}, resource.outputs)}


def _unknown(recorded: list[ResourceState], live: LiveObjects, stack: str, project: str) -> list[ResourceChange]:
    """Objects with the labels that the program gives its own."""
    known = {_key(each, live) for each in recorded}
    found = []
    for key, item in live.objects.items():
        labels = object_at(item, "metadata", "labels")
        if text_at(item, "metadata", "deletionTimestamp"):
            continue  # on its way out
        if key not in known and labels.get(MANAGED_BY) == MANAGER and labels.get(PART_OF) == project:
            version = key.kind.api_version if "/" in key.kind.api_version else f"core/{key.kind.api_version}"
            urn = f"urn:pulumi:{stack}::{project}::kubernetes:{version}:{key.kind.name}::{key.name}"
            found.append(ResourceChange(Urn(urn), Operation.CREATE, text_at(labels, NAME)))
    return found
