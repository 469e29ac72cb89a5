"""Waits for the program's outputs all at once."""

from __future__ import annotations

import asyncio
from typing import Any

from pulumi.runtime.settings import SETTINGS


def wait_at_once() -> None:
    """Give the SDK one task to wait for, instead of the outputs that the program has so far: call it at the end.

    Whenever one of them is known, the SDK begins to wait for all others again: 500 times for up to 7,000 of them in an
    update of 50 services. https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/lib/pulumi/runtime/stack.py
    (wait_for_rpcs)
    """
    SETTINGS.outputs.add(asyncio.ensure_future(_all_known(_take())))


async def _all_known(outputs: set[asyncio.Task[Any]]) -> None:
    """Return when no output is outstanding, or when one has failed: the SDK then finds it, and ends the program."""
    left: set[asyncio.Task[Any]] = set()
    while outputs and not left:
        await asyncio.wait(outputs, return_when=asyncio.FIRST_EXCEPTION)
        left = {each for each in outputs if not each.done() or each.cancelled() or each.exception()}
        outputs = _take()
    with SETTINGS.lock:
        SETTINGS.outputs |= left | outputs


def _take() -> set[asyncio.Task[Any]]:
    """All outputs that the SDK would wait for, but this task."""
    with SETTINGS.lock:
        taken = {each for each in SETTINGS.outputs if each is not asyncio.current_task()}
        SETTINGS.outputs -= taken
    return taken
