"""The SDK's details for debugging the program: messages with every property, and where each call came from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pulumi
from pulumi.runtime import resource
from pulumi.runtime.proto import source_pb2

from slipway.errors import is_debugging

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
