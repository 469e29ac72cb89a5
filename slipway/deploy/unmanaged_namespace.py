"""Makes the state forget a namespace that the settings say somebody else manages: the engine would else delete it, as
whatever a program declares no more.
"""

from __future__ import annotations

from collections.abc import Callable

from slipway.deploy.recovery import import_state
from slipway.stack import Stack
from slipway.state.namespaces import has_namespace, without_namespace


def release_namespace(stack: Stack, say: Callable[[str], None]) -> None:
    """Nothing in the cluster is touched."""
    name = stack.unmanaged_namespace()
    present = stack.history().present() if name else None
    if present and has_namespace(present, name):
        import_state(stack, without_namespace(present, name))
        say(f"Namespace {name} is somebody else's by now (managed: false): the state of {stack} forgets it.")
