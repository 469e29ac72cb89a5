"""The Namespace among the resources of a state. Pure."""

from __future__ import annotations

from slipway.state.checkpoint import Snapshot
from slipway.state.directives import NAMESPACE_TYPE
from slipway.state.integrity import repaired


def has_namespace(state: Snapshot, name: str) -> bool:
    return any(raw["type"] == NAMESPACE_TYPE and raw.get("id") == name for raw in state.get("resources") or ())


def without_namespace(state: Snapshot, name: str) -> Snapshot:
    """The state without that Namespace, and without dependencies on it."""
    kept = [
        raw for raw in state.get("resources") or () if not (raw["type"] == NAMESPACE_TYPE and raw.get("id") == name)
    ]
    return repaired({**state, "resources": kept})
