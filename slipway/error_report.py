"""Prints an error the way every command does: what failed, why, and the next step; the one place that decides."""

from __future__ import annotations

import os
import time
import traceback

from rich.console import Console
from rich.text import Text

from slipway.errors import ExitCode, SlipwayError
from slipway.paths import data_home


def report(error: SlipwayError) -> int:
    """Say what went wrong on standard error; the exit code of the command."""
    if _debugging():
        traceback.print_exception(error)
    _print(error.what, error.why, error.next_step)
    return int(error.code)


def report_unexpected(error: Exception) -> int:
    """A defect of ours: one line for the user, the traceback in a log file (on the screen with SLIPWAY_DEBUG=1)."""
    if _debugging():
        traceback.print_exception(error)
    _print(
        f"Unexpected {type(error).__name__}: {error}",
        _write_log(error),
        "This is a defect in slipway; please report it with that log. SLIPWAY_DEBUG=1 shows the traceback here.",
    )
    return int(ExitCode.FAILED)


def _debugging() -> bool:
    return os.environ.get("SLIPWAY_DEBUG", "") not in ("", "0")


def _write_log(error: Exception) -> str:
    file = data_home() / "logs" / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # the error may quote what it met
        file.write_text("".join(traceback.format_exception(error)))
    except OSError as problem:
        return f"Its traceback could not be written to {file}: {problem}"
    return f"Its traceback is in {file}"


def _print(what: str, why: str, next_step: str) -> None:
    lines = what.splitlines() or [""]
    text = Text.assemble(("error: ", "bold red"), (lines[0], "red"))
    for line in lines[1:] + why.splitlines():
        text.append(f"\n  {line}")
    if next_step:
        text.append("\n  next: ", "bold").append(next_step.replace("\n", "\n        "))
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
