"""Whether the cluster has what a state declares, whoever has written it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from slipway.cluster import drifted
from slipway.cluster.diagnosis import is_rolled_out
from slipway.cluster.drifted import Drift
from slipway.cluster.verification import DEPLOYMENT_TYPE
from slipway.engine.events import Urn
from slipway.errors import SlipwayError
from slipway.stack import Stack
from slipway.state.changes import Operation, ResourceChange
from slipway.state.checkpoint import ResourceState, Snapshot, objects, plain


@dataclass(frozen=True)
class ClusterDifference:
    """What of a state the cluster has otherwise: declared fields that are others, objects that are gone."""

    changes: tuple[ResourceChange, ...] = ()
    half_recorded: tuple[str, ...] = ()
    """Objects of which the state has other inputs than the provider has: it would take them for unchanged."""
    undeclared: tuple[str, ...] = ()
    """Fields that somebody has set beside what is declared."""
    unknown: tuple[str, ...] = ()
    """Objects with this project's labels that the state does not have."""
    incomplete: tuple[str, ...] = ()
    """Deployments that are not rolled out."""
    changed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By URN, the field managers that wrote an object beside the program's own."""
    unread: str = ""
    """Why the cluster could not be compared; empty when it was."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.half_recorded)

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys([*(str(each.resource) for each in self.changes), *self.half_recorded]))

    def by_others(self) -> str:
        """The objects that somebody else has changed or deleted, for people."""
        theirs = (
            each
            for each in self.changes
            if each.operation is Operation.DELETE or self.changed_by.get(each.resource.urn)
        )
        return ", ".join(str(each.resource) for each in theirs)

    def lines(self) -> list[str]:
        """What is where, without values."""
        changed = [f"{each.resource}: {', '.join(one.path for one in each.fields) or 'gone'}" for each in self.changes]
        return [*changed, *(f"{name}: recorded by half" for name in self.half_recorded)]


def cluster_difference(stack: Stack, state: Snapshot, services: tuple[str, ...]) -> ClusterDifference:
    """What of `state`, decrypted, the cluster has otherwise; of these services, or of all where none is named.

    A person who may change objects may lack the right to list them, which is no reason to refuse a rollback.
    """
    recorded = objects(state)
    if not recorded:
        return ClusterDifference()
    try:
        found = drifted.find(stack.beside_cluster(state), stack.project.name)
    except SlipwayError as error:
        return ClusterDifference(unread=error.why)
    return compared_with(recorded, found, services)


def compared_with(recorded: Mapping[str, ResourceState], found: Drift, services: tuple[str, ...]) -> ClusterDifference:
    """`found` sorted into what is declared and what is not, without fields that a resource ignores. Pure."""
    declared, undeclared, unknown = [], [], []
    for change in found.changes:
        if services and change.service not in services:
            continue
        if change.operation is Operation.CREATE:
            unknown.append(str(change.resource))
            continue
        resource = recorded.get(change.resource.urn)
        ignored = tuple(resource.raw.get("ignoreChanges") or ()) if resource else ()
        fields = tuple(each for each in change.fields if not _is_below(each.path, ignored))
        undeclared += [f"{change.resource}: {each.path}" for each in fields if each.kind == "add"]
        fields = tuple(each for each in fields if each.kind != "add")
        if fields or change.operation is Operation.DELETE:
            declared.append(replace(change, fields=fields))
    asked = {urn: each for urn, each in recorded.items() if not services or each.service in services}
    live = {urn: found.live[urn] for urn, each in asked.items() if each.type == DEPLOYMENT_TYPE and urn in found.live}
    return ClusterDifference(
        tuple(declared),
        tuple(str(Urn(each.urn)) for each in asked.values() if _is_half_recorded(each)),
        tuple(undeclared),
        tuple(unknown),
        tuple(asked[urn].name for urn, each in live.items() if not is_rolled_out(each)),
        found.changed_by,
    )


def _is_half_recorded(resource: ResourceState) -> bool:
    """The provider compares with the inputs that it has put among the outputs, not with those of the state.

    https://github.com/pulumi/pulumi-kubernetes/blob/v4.25.0/provider/pkg/provider/provider.go (parseCheckpointObject)
    """
    applied = resource.outputs.get("__inputs")
    return applied is not None and plain(applied) != plain(resource.inputs)


def _is_below(path: str, ignored: Iterable[str]) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in ignored)
