"""Compares every recorded input with the state and the live objects after a rollback, whichever manager wrote them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slipway.cluster import drift
from slipway.cluster.diagnosis import is_rolled_out
from slipway.cluster.drift import Drift
from slipway.engine.events import Urn
from slipway.errors import SlipwayError
from slipway.render.words import counted
from slipway.rollback.plan import RollbackPlan, RollbackRequest, plan_rollback
from slipway.stack import Stack
from slipway.state.checkpoint import ResourceState, Snapshot, objects
from slipway.state.difference import Comparison, Operation, ResourceChange, compared
from slipway.state.kubernetes_objects import DEPLOYMENT_TYPE
from slipway.values import opened

DEFINITION_TYPE = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
DIFFERENCES_SHOWN = 20
UNDECLARED_SHOWN = 3


@dataclass(frozen=True)
class ClusterDifference:
    """The differences of the cluster from a state: declared fields with other values, objects that are missing."""

    changes: tuple[ResourceChange, ...] = ()
    half_recorded: tuple[str, ...] = ()
    """Objects whose inputs differ between the state and the provider, which would treat them as unchanged."""
    undeclared: tuple[str, ...] = ()
    """Fields that are set but not declared."""
    unknown: tuple[str, ...] = ()
    """Objects with this project's labels that the state does not have."""
    incomplete: tuple[str, ...] = ()
    """Deployments that are not rolled out."""
    changed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By URN, the field managers that wrote an object, without the program's own."""
    unread: str = ""
    """Why the cluster could not be compared; empty if it was."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.half_recorded)

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys([*(str(each.resource) for each in self.changes), *self.half_recorded]))

    def by_others(self) -> str:
        """The objects that others have changed or deleted, as text."""
        theirs = (
            each
            for each in self.changes
            if each.operation is Operation.DELETE or self.changed_by.get(each.resource.urn)
        )
        return ", ".join(str(each.resource) for each in theirs)

    def lines(self) -> list[str]:
        """The changed fields of each object, without values."""
        changed = [f"{each.resource}: {', '.join(one.path for one in each.fields) or 'gone'}" for each in self.changes]
        return [*changed, *(f"{name}: partly recorded" for name in self.half_recorded)]


def cluster_difference(stack: Stack, state: Snapshot, services: tuple[str, ...]) -> ClusterDifference:
    """The differences of the cluster from `state`, decrypted; for these services, or for all if none is named.

    A user who may change objects may lack the right to list them; that is no reason to refuse a rollback.
    """
    recorded = objects(state)
    if not recorded:
        return ClusterDifference()
    try:
        found = drift.find(stack.beside_cluster(state), stack.project.name)
    except SlipwayError as error:
        return ClusterDifference(unread=error.why)
    return compared_with(recorded, found, services)


def compared_with(recorded: Mapping[str, ResourceState], found: Drift, services: tuple[str, ...]) -> ClusterDifference:
    """`found` sorted into declared and undeclared changes, without fields that a resource ignores. Pure."""
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
    chosen = {urn: each for urn, each in recorded.items() if not services or each.service in services}
    live = {urn: found.live[urn] for urn, each in chosen.items() if each.type == DEPLOYMENT_TYPE and urn in found.live}
    return ClusterDifference(
        tuple(declared),
        tuple(str(Urn(each.urn)) for each in chosen.values() if _is_half_recorded(each)),
        tuple(undeclared),
        tuple(unknown),
        tuple(chosen[urn].name for urn, each in live.items() if not is_rolled_out(each)),
        found.changed_by,
    )


def _is_half_recorded(resource: ResourceState) -> bool:
    """Whether the inputs that the provider put in the outputs, and compares with, differ from those of the state.

    https://github.com/pulumi/pulumi-kubernetes/blob/v4.25.0/provider/pkg/provider/provider.go (parseCheckpointObject)

    The API server completes a CustomResourceDefinition, and a refresh records the result as its inputs. So for this
    kind, only the live object is compared.
    """
    if resource.type == DEFINITION_TYPE:
        return False
    applied = resource.outputs.get("__inputs")
    return applied is not None and opened(applied) != opened(resource.inputs)


def _is_below(path: str, ignored: Iterable[str]) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in ignored)


@dataclass(frozen=True)
class Proof:
    """How much of the recorded state is restored; `unread` says why the cluster itself could not be compared."""

    comparison: Comparison
    unread: str = ""
    undeclared: tuple[str, ...] = ()
    """Fields that are set in the cluster but not declared."""
    unknown: tuple[str, ...] = ()
    """Objects of this project in the cluster that the state does not have."""

    def __str__(self) -> str:
        where = f" in the state (the cluster was not compared: {self.unread})" if self.unread else ""
        beside = _listed("field", "never declared", self.undeclared) + _listed("object", "never recorded", self.unknown)
        return f"{self.comparison} recorded inputs are the same{where}{beside}"


def _listed(noun: str, what: str, names: Sequence[str]) -> str:
    """`, and 1 field that was never declared (Deployment api: spec.paused)`; empty for none."""
    if not names:
        return ""
    more = f"; and {len(names) - UNDECLARED_SHOWN} more" if len(names) > UNDECLARED_SHOWN else ""
    verb = "was" if len(names) == 1 else "were"
    return f", and {counted(len(names), noun)} that {verb} {what} ({'; '.join(names[:UNDECLARED_SHOWN])}{more})"


def prove(stack: Stack, target: int, plan: RollbackPlan, services: tuple[str, ...] = ()) -> Proof:
    """Compare `plan`, which was declared to restore update `target`, or only these services of it; raises SlipwayError
    if anything differs.
    """
    history = stack.history()
    actual = stack.decrypted(history.present() or {})
    comparison = compared(_of(services, plan.objects()), _of(services, objects(actual)))
    if comparison.differences:
        shown, more = comparison.differences[:DIFFERENCES_SHOWN], len(comparison.differences) - DIFFERENCES_SHOWN
        raise SlipwayError(
            f"The rollback ran, but only {comparison} recorded inputs are as in #{target}.",
            why="\n".join([*shown, *([f"and {more} more"] if more > 0 else [])]),
            next_step=f"`slipway diff -s {stack} {target}` shows the values.",
        )
    moved = cluster_difference(stack, actual, services)
    if moved:
        raise SlipwayError(
            f"The rollback ran, and {comparison} recorded inputs are as in #{target}, "
            "but the cluster does not have all of them.",
            why="\n".join(moved.lines()),
            next_step=f"`slipway drift -s {stack}` shows the values and who wrote them.",
        )
    if moved.incomplete:
        raise SlipwayError(
            f"The rollback ran, and {comparison} recorded inputs are as in #{target}, "
            "but not every rollout is complete.",
            why="\n".join(f"Deployment {name}" for name in moved.incomplete),
            next_step=f"`slipway verify -s {stack}` shows what is missing.",
        )
    return Proof(comparison, moved.unread, moved.undeclared, moved.unknown)


def prove_setting(stack: Stack, target: int) -> Proof:
    """The same for a rollback by the setting `rollbackTo`, which the program has planned itself."""
    history = stack.history()
    states = (history.checkpoint(target), history.present() or {})
    then, now = (stack.decrypted(state) for state in states)
    request = RollbackRequest(target, unmanaged_namespace=stack.unmanaged_namespace())
    return prove(stack, target, plan_rollback(then, now, request))


def _of(services: Collection[str], known: Mapping[str, ResourceState]) -> dict[str, ResourceState]:
    """The objects of these services, or all if none is named; the engine does not change any others."""
    return {urn: each for urn, each in known.items() if not services or each.service in services}
