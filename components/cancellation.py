"""How the program ends when the engine cancels it: silently, since the engine says why."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

# By which Pulumi's Python language host knows that nothing more is to be said.
# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/cmd/pulumi-language-python-exec
ALREADY_REPORTED = 32


def exit_silently_when_cancelled() -> None:
    """The language host interrupts the program, which would print a traceback for each of its interrupts."""
    signal.signal(signal.SIGINT, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(RuntimeError, OSError):  # it was about to be written to, or nobody reads it any more
            stream.flush()
    os._exit(ALREADY_REPORTED)
