"""Makes the state forget a namespace that the settings say somebody else manages: the engine would else delete it, as
whatever a program declares no more.
"""

from __future__ import annotations

from collections.abc import Callable

from slipway.backend import History
from slipway.deploy.recovery import import_state
from slipway.stack import Session
from slipway.state.namespaces import has_namespace, without_namespace


def release_namespace(session: Session, stack: str, say: Callable[[str], None]) -> None:
    """Nothing in the cluster is touched."""
    name = session.project.unmanaged_namespace(stack)
    present = History.open(session.engine, session.project, stack).present() if name else None
    if present and has_namespace(present, name):
        import_state(session, stack, without_namespace(present, name))
        say(f"Namespace {name} is somebody else's by now (managed: false): the state of {stack} forgets it.")
