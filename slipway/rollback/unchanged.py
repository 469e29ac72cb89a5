"""Resources that a rollback need not declare: the present state already has them as recorded. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from slipway.engine.events import STACK_TYPE
from slipway.engine.stages import IMAGE_TYPE
from slipway.rollback.plan import RollbackPlan
from slipway.state.checkpoint import (
    ENVIRONMENT_TYPE,
    PROVIDER_PREFIX,
    ResourceState,
    Snapshot,
    is_settled,
    resources,
)

# Fields that the engine adds to the declared ones; the outputs of a component are declared.
NOT_DECLARED = {"id", "outputs", "created", "modified", "sourcePosition", "stackTrace"}


def unchanged_resources(plan: RollbackPlan, present: Snapshot) -> set[str]:
    """The URNs of the resources of `plan` that the present state already has as recorded, and that do not depend,
    directly or indirectly, on a resource that differs; both decrypted.

    The engine may leave these as they are, and the program need not declare them. Empty if an update was cut short:
    the state then does not say what is in the cluster.
    """
    if not is_settled(present):
        return set()
    now = {each.urn: each for each in resources(present)}
    same = {each.urn for each in plan.resources if each.urn in now and _is_same(each, now[each.urn])}
    # The engine deletes resources that depend on a target and are not declared. It does not delete resources that an
    # excluded one depends on. An image is neither changed nor deleted.
    moves = {urn for urn, each in now.items() if urn not in same and not _is_always_declared(each)}
    for urn, each in now.items():  # dependencies first
        if moves.intersection(each.needs):
            moves.add(urn)
    return same - moves


def _is_always_declared(resource: ResourceState) -> bool:
    types = (STACK_TYPE, ENVIRONMENT_TYPE, IMAGE_TYPE)
    return resource.type in types or resource.type.startswith(PROVIDER_PREFIX)


def _is_same(then: ResourceState, now: ResourceState) -> bool:
    """Whether declaring it would change nothing. A resource that is only read is read again."""
    return not (_is_always_declared(then) or then.raw.get("external")) and _declared(then) == _declared(now)


def _declared(resource: ResourceState) -> dict[str, Any]:
    raw = resource.raw
    outputs = raw.get("outputs") if not resource.custom else None
    kept = {key: each for key, each in raw.items() if key not in NOT_DECLARED and each}
    by_property: Mapping[str, Any] = raw.get("propertyDependencies") or {}
    return {
        **kept,
        "outputs": outputs or {},
        "dependencies": sorted(resource.dependencies),
        "propertyDependencies": {key: sorted(urns) for key, urns in by_property.items() if urns},
    }


def declared_resources(plan: RollbackPlan, unchanged: Collection[str]) -> tuple[ResourceState, ...]:
    """The resources of `plan` without the unchanged ones that nothing else needs, in its order."""
    known = {each.urn: each for each in plan.resources}
    needed: set[str] = set()
    waiting = [urn for urn in known if urn not in unchanged]
    while waiting:
        urn = waiting.pop()
        if urn in known and urn not in needed:
            needed.add(urn)
            waiting += known[urn].needs
    return tuple(each for each in plan.resources if each.urn in needed)


def digest(unchanged: Collection[str]) -> str:
    """A hash by which the program checks that it leaves out the resources that the engine leaves as they are."""
    return hashlib.sha256("\n".join(sorted(unchanged)).encode()).hexdigest()
