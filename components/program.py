"""How the program runs on Pulumi's SDK: what it sends to the engine, waits for and runs in threads, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import pulumi
from pulumi.runtime import resource
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import SETTINGS

from slipway.errors import is_debugging

# The exit code that tells Pulumi's Python language host that the error is already reported.
# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/cmd/pulumi-language-python-exec
ALREADY_REPORTED = 32
INTERRUPT_SECONDS = 1.0  # the interrupt came after 0.04 s at most, on two busy cores

P = ParamSpec("P")
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


_THREADS = ThreadPoolExecutor(16, "slipway")


async def in_thread(function: Callable[P, Value], *args: P.args, **kwargs: P.kwargs) -> Value:
    """Like `asyncio.to_thread`, in threads of our own.

    The SDK waits in the event loop's threads until the engine has registered resources. With many resources it uses all
    of them, while the engine waits for the result of a hook or a rollout.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))


# Of the classes Resource, CustomResource or ComponentResource, and of the resource's own class.
CONSTRUCTORS = 3


def drop_debug_details() -> None:
    """Send none of them to the engine, unless `SLIPWAY_DEBUG` is set: then `pulumi up --debug` shows the messages.

    Each message is a call that the program waits for, and the engine passes all of them on to readers of its events.
    The stack traces of all resources are a third of the state, which the engine writes before and after each step, and
    they name folders of this machine. Only the frame that is recorded as the source position stays.
    """
    if not is_debugging():
        pulumi.log.debug = _drop
        resource._get_stack_trace = _declaring_frame


def _drop(*_message: object, **_more: object) -> None:
    pass


def _declaring_frame() -> source_pb2.StackTrace:
    """Only the frame that calls the constructor of a resource; the SDK's own function has all below it too."""
    frame: FrameType | None = sys._getframe(1)
    seen = 0
    while frame is not None and seen < CONSTRUCTORS:
        seen += frame.f_code.co_name == "__init__"
        frame = frame.f_back
    if frame is None:
        return source_pb2.StackTrace()
    uri = Path(frame.f_code.co_filename).absolute().as_uri()
    position = source_pb2.SourcePosition(uri=uri, line=frame.f_lineno)
    return source_pb2.StackTrace(frames=[source_pb2.StackFrame(pc=position)])


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
