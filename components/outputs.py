"""Outputs that wait for others, and a program that waits for its outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pulumi
from pulumi import Output
from pulumi.runtime import settings
from pulumi.runtime.settings import _get_rpc_manager

from policy import program_check

T = TypeVar("T")

LOOK_EVERY_SECONDS = 0.2


def after(value: Output[T], others: Iterable[Output[Any]]) -> Output[T]:
    """`value`, held back until all `others` are there.

    Unlike `depends_on` it leaves no dependency in the state: with n services that would be n² of them.
    """
    waited_for = [other.future() for other in others]

    async def value_afterwards() -> T:
        await asyncio.gather(*waited_for)
        return await value.future()  # type: ignore[return-value]

    started = asyncio.ensure_future
    return Output(value.resources(), started(value_afterwards()), started(value.is_known()), started(value.is_secret()))


def export(outputs: Mapping[str, Any]) -> None:
    """Export the stack's outputs, and have the program end when they are known.

    At the end of a program the SDK waits for everything pending, and goes through all of it again for each value that
    comes: with n services that is n² (`wait_for_rpcs` in pulumi/runtime/stack.py). Here little is pending by then.
    Where something fails, nothing is exported: what hangs on it may never be known, and the SDK would wait for it.
    """

    async def known() -> Mapping[str, Any] | None:
        pending = {asyncio.ensure_future(each.future()) for each in outputs.values() if isinstance(each, Output)}
        while pending and not _has_failed():
            done, pending = await asyncio.wait(pending, timeout=LOOK_EVERY_SECONDS)
            for future in done:
                future.exception()  # the SDK raises it, of whatever failed first
        return None if _has_failed() else outputs

    if not program_check.is_declaring():  # nothing is waited for then
        pulumi.run(known)


def _has_failed() -> bool:
    """Whether a call to the engine or a value has failed."""
    ended = [task for task in list(settings.SETTINGS.outputs) if task.done() and not task.cancelled()]
    return _get_rpc_manager().unhandled_exception is not None or any(task.exception() for task in ended)
