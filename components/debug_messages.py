"""The SDK's debug messages, which log every property of every resource."""

from __future__ import annotations

import pulumi

from slipway.errors import is_debugging


def drop_debug_messages() -> None:
    """Send none of them to the engine, unless `SLIPWAY_DEBUG` is set: `pulumi up --debug` shows them then.

    Each is a call that the program waits for, and the engine passes all of them on to whoever reads its events.
    """
    if not is_debugging():
        pulumi.log.debug = _drop


def _drop(*_message: object, **_more: object) -> None:
    pass
