"""How the program ends when the engine cancels it: silently, since the engine says why."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable
from contextlib import suppress
from types import FrameType
from typing import TypeVar

import pulumi

# By which Pulumi's Python language host knows that nothing more is to be said.
# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/cmd/pulumi-language-python-exec
ALREADY_REPORTED = 32
INTERRUPT_SECONDS = 1.0  # it came after 0.04 s at most, on two busy cores

Value = TypeVar("Value")


def exit_silently_when_cancelled() -> None:
    """The language host interrupts the program, which would print a traceback for each of its interrupts."""
    signal.signal(signal.SIGINT, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(RuntimeError, OSError):  # it was about to be written to, or nobody reads it any more
            stream.flush()
    os._exit(ALREADY_REPORTED)


async def silent_when_cancelled(invoked: Awaitable[Value]) -> Value:
    """What an invoke gives. Where it fails, nothing is said if the engine broke it off, else a RunError says why.

    When a resource fails, the engine closes its connections to the providers first and interrupts the program then: an
    invoke that is under way would end the program with a traceback beside what failed.
    """
    try:
        return await invoked
    except Exception as error:  # the SDK raises no narrower one
        await asyncio.sleep(INTERRUPT_SECONDS)
        raise pulumi.RunError(str(error)) from error
