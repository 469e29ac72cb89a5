"""How the program ends when the engine cancels it: silently, because the engine says why."""

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

# The exit code that tells Pulumi's Python language host that the error is already reported.
# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/cmd/pulumi-language-python-exec
ALREADY_REPORTED = 32
INTERRUPT_SECONDS = 1.0  # the interrupt came after 0.04 s at most, on two busy cores

Value = TypeVar("Value")


def exit_silently_when_cancelled() -> None:
    """End silently on SIGINT: otherwise the program prints a traceback for each interrupt of the language host."""
    signal.signal(signal.SIGINT, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(RuntimeError, OSError):  # the stream was being written, or its reader is gone
            stream.flush()
    os._exit(ALREADY_REPORTED)


async def silent_when_cancelled(invoked: Awaitable[Value]) -> Value:
    """The result of an invoke. If it fails, raises RunError with the reason; silent if the engine cancelled it.

    When a resource fails, the engine first closes its connections to the providers, then interrupts the program. An
    invoke that is under way would end the program with a traceback in addition to the failure.
    """
    try:
        return await invoked
    except Exception as error:  # the SDK raises no narrower one
        await asyncio.sleep(INTERRUPT_SECONDS)
        raise pulumi.RunError(str(error)) from error
