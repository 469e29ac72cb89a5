"""Makes the state forget a namespace that the settings say somebody else manages: the engine would else delete it, as
whatever a program declares no more.
"""

from __future__ import annotations

from collections.abc import Callable

from slipway.history import History
from slipway.session import Session
from slipway.state.checkpoint import Deployment
from slipway.state.directives import NAMESPACE_TYPE
from slipway.state.integrity import repaired
from slipway.updates.recovery import import_state


def release_namespace(session: Session, stack: str, say: Callable[[str], None]) -> None:
    """Nothing in the cluster is touched."""
    name = session.project.unmanaged_namespace(stack)
    present = History.open(session.engine, session.project, stack).present() if name else None
    if present and has_namespace(present, name):
        import_state(session, stack, without_namespace(present, name))
        say(f"Namespace {name} is somebody else's by now (managed: false): the state of {stack} forgets it.")


def has_namespace(state: Deployment, name: str) -> bool:
    return any(raw["type"] == NAMESPACE_TYPE and raw.get("id") == name for raw in state.get("resources") or ())


def without_namespace(state: Deployment, name: str) -> Deployment:
    """The state without that Namespace, and without dependencies on it."""
    kept = [
        raw for raw in state.get("resources") or () if not (raw["type"] == NAMESPACE_TYPE and raw.get("id") == name)
    ]
    return repaired({**state, "resources": kept})
