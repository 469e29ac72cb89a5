"""Lets an update go back to an object that a failed update was about to delete.

The engine creates a replacement under another name (for example in another namespace) first, and deletes the replaced
object at the end. An update that fails in between leaves both in the state: the new one as the resource, the old one
marked for deletion. A rollback or a fixed release wants the old one again, and would fail: the engine would create it
again under the name that it still has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.deploy.recovery import import_state, object_id
from slipway.engine.events import Event, Failed, Started
from slipway.stack import Stack
from slipway.state.checkpoint import Snapshot
from slipway.state.integrity import in_engine_order

CREATING, REPLACING = "create", "create-replacement"
TAKEN_BACK = "Reverted a replacement that a failed update left half-finished: the old objects are kept."


def replacing(events: Iterable[Event], operation: str = REPLACING) -> dict[str, str]:
    """The ids of Kubernetes objects, by URN, whose replacement the engine began or would begin to create."""
    started = (each for each in events if isinstance(each, Started) and each.operation == operation)
    ids = {each.resource.urn: object_id({"type": each.resource.type, "inputs": each.inputs}) for each in started}
    return {urn: identity for urn, identity in ids.items() if identity}


def collisions(events: Sequence[Event], operation: str = REPLACING) -> dict[str, str]:
    """The same, if the engine failed to create the replacement."""
    failed = {each.resource.urn for each in events if isinstance(each, Failed) and each.operation == operation}
    return {urn: identity for urn, identity in replacing(events, operation).items() if urn in failed}


def revert(stack: Stack, declared: Mapping[str, str]) -> bool:
    """Restore in the state the objects of `declared`, ids by URN, that were to be deleted; whether there were any."""
    present = stack.present() if declared else None
    state = reverted(present, declared) if present else None
    if state is None:
        return False
    import_state(stack, state)
    return True


def reverted(snapshot: Snapshot, declared: Mapping[str, str]) -> Snapshot | None:
    """The state with each declared object as the resource, and the other marked for deletion; `None` if there is none.

    `declared` are ids by URN.
    """
    resources = list(snapshot.get("resources") or ())
    found = False
    for urn, identity in declared.items():
        present = _index(resources, urn, marked=False)
        marked = _index(resources, urn, marked=True, identity=identity)
        if present is None or marked is None or resources[present].get("id") == identity:
            continue
        found = True
        resources[marked] = {key: value for key, value in resources[marked].items() if key != "delete"}
        resources[present] = {**resources[present], "delete": True}
    return {**snapshot, "resources": in_engine_order(resources)} if found else None


def _index(resources: list[Mapping[str, Any]], urn: str, *, marked: bool, identity: str = "") -> int | None:
    for index, raw in enumerate(resources):
        is_it = raw["urn"] == urn and bool(raw.get("delete")) is marked
        if is_it and (not identity or raw.get("id") == identity):
            return index
    return None
