"""Whether a recorded state is back: every recorded input against the state and the cluster as they are now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from slipway.backend.update_info import ROLLBACK_KEY
from slipway.errors import SlipwayError
from slipway.render.words import counted
from slipway.rollback.in_cluster import cluster_difference
from slipway.rollback.plan import RollbackPlan, RollbackRequest, plan_rollback
from slipway.stack import Stack
from slipway.state.checkpoint import ResourceState, objects
from slipway.state.comparison import Comparison, compared

DIFFERENCES_SHOWN = 20
UNDECLARED_SHOWN = 3
ROLLBACK_SETTING = f"slipway:{ROLLBACK_KEY}"


@dataclass(frozen=True)
class Proof:
    """How much of the recorded state is there; `unread` says why the cluster itself could not be compared."""

    comparison: Comparison
    unread: str = ""
    undeclared: tuple[str, ...] = ()
    """Fields that somebody has set in the cluster beside what is declared."""
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
    """Compare `plan`, which was declared to bring update `target` back, or these services alone; raises SlipwayError
    where anything differs.
    """
    history = stack.history()
    actual = stack.decrypted(history.present() or {})
    comparison = compared(_of(services, plan.objects()), _of(services, objects(actual)))
    if comparison.differences:
        raise SlipwayError(
            f"The rollback ran, but only {comparison} recorded inputs are as in #{target}.",
            why="\n".join(_first(comparison.differences)),
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
            next_step=f"`slipway verify -s {stack}` says what each of them lacks.",
        )
    return Proof(comparison, moved.unread, moved.undeclared, moved.unknown)


def prove_setting(stack: Stack, target: int) -> Proof:
    """The same of a rollback by the setting `rollbackTo`, which the program has worked out by itself."""
    history = stack.history()
    states = (history.checkpoint(target), history.present() or {})
    then, now = (stack.decrypted(state) for state in states)
    request = RollbackRequest(target, unmanaged_namespace=stack.unmanaged_namespace())
    return prove(stack, target, plan_rollback(then, now, request))


def _of(services: Collection[str], known: Mapping[str, ResourceState]) -> dict[str, ResourceState]:
    """What is of these services, or all where none is named; the engine touches nothing else then."""
    return {urn: each for urn, each in known.items() if not services or each.service in services}


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - DIFFERENCES_SHOWN
    return [*lines[:DIFFERENCES_SHOWN], *([f"and {more} more"] if more > 0 else [])]
