"""Takes an object back that the state has forgotten, though it is in the cluster: `pulumi state delete` does that.

Every update that declares it is refused then, since it would be made under a name that is taken. The history knows it:
by its uid it is told from somebody else's of the same name, which is never taken over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.cluster import ClusterError
from slipway.errors import SlipwayError
from slipway.history import History
from slipway.live.deployed import deployed, metadata
from slipway.live.objects import Key, Kind, LiveObjects
from slipway.session import Session
from slipway.state.checkpoint import Deployment, Recorded, resources
from slipway.updates.recovery import INIT_ERRORS, UNSURE, import_state, read_again
from slipway.updates.twins import in_engine_order

TAKEN_IN = "What the state had forgotten is in the cluster, and is this stack's own: it is taken in again."
LOOKED_BACK = 20


def restore(session: Session, stack: str, wanted: Mapping[str, str]) -> bool:
    """Take what of `wanted`, ids by URN, is in the cluster and was made by this stack into its state again; whether
    there was any.
    """
    history = History.open(session.engine, session.project, stack)
    present = history.present() if wanted else None
    if not present:
        return False
    known = {each.urn for each in resources(present)}
    recorded = _last_recorded(history, {urn: identity for urn, identity in wanted.items() if urn not in known})
    try:
        own = _still_there(session, stack, present, recorded) if recorded else {}
    except (ClusterError, SlipwayError):  # the cluster gives no answer, which the update's own error tells
        return False
    if not own:
        return False
    import_state(session, stack, remembered(present, own))
    read_again(session, stack, list(own))
    return True


def remembered(deployment: Deployment, forgotten: Mapping[str, Recorded]) -> Deployment:
    """The state with them in it, under its present providers, and with a mark that they have to be read."""
    present = list(deployment.get("resources") or ())
    ids = {str(raw["urn"]): str(raw.get("id", "")) for raw in present if not raw.get("delete")}
    there = {*ids, *forgotten}
    added = [_among(each, ids, there) for each in forgotten.values()]
    return {**deployment, "resources": in_engine_order([*present, *added])}


def _among(resource: Recorded, ids: Mapping[str, str], there: set[str]) -> dict[str, Any]:
    raw, provider = dict(resource.raw), resource.provider
    if provider in ids:
        raw["provider"] = f"{provider}::{ids[provider]}"
    raw["dependencies"] = [urn for urn in resource.dependencies if urn in there]
    by_property = raw.get("propertyDependencies") or {}
    raw["propertyDependencies"] = {key: [urn for urn in urns if urn in there] for key, urns in by_property.items()}
    return {**raw, INIT_ERRORS: [UNSURE]}


def _last_recorded(history: History, wanted: Mapping[str, str]) -> dict[str, Recorded]:
    """Each as the newest state has it that knows it under that id."""
    found: dict[str, Recorded] = {}
    for number in reversed(history.numbers[-LOOKED_BACK:] if wanted else ()):
        try:
            state = history.checkpoint(number)
        except SlipwayError:  # one that is damaged is told of elsewhere
            continue
        for each in resources(state):
            if wanted.get(each.urn) == each.id:
                found.setdefault(each.urn, each)
        if len(found) == len(wanted):
            break
    return found


def _still_there(
    session: Session, stack: str, present: Deployment, recorded: Mapping[str, Recorded]
) -> dict[str, Recorded]:
    """Those of which the cluster has the very object that was recorded."""
    keys = {urn: _key(each) for urn, each in recorded.items()}
    live = LiveObjects(
        deployed(session, stack, present).cluster,
        frozenset(key.kind for key in keys.values()),
        frozenset(key.namespace for key in keys.values() if key.namespace),
        frozenset((key.kind, key.name) for key in keys.values()),
    ).objects
    return {urn: each for urn, each in recorded.items() if _uid(each.outputs) == _uid(live.get(keys[urn]) or {}) != ""}


def _key(resource: Recorded) -> Key:
    about, inputs = metadata(resource), resource.inputs
    kind = Kind(str(inputs.get("apiVersion")), str(inputs.get("kind")))
    return Key(kind, str(about.get("namespace", "")), str(about.get("name")))


def _uid(found: Mapping[str, Any]) -> str:
    return str((found.get("metadata") or {}).get("uid") or "")
