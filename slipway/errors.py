"""The one error a user sees, the exit code of every command, and how an error is printed: what, why, what next."""

from __future__ import annotations

import os
import time
import traceback
from enum import IntEnum

from slipway.paths import data_home


class ExitCode(IntEnum):
    """The exit codes of all commands; part of the public contract."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    POLICY = 3
    ROLLED_BACK = 4
    ROLLBACK_FAILED = 5
    DRIFT = 6
    INTERRUPTED = 130


class SlipwayError(Exception):
    """A failure that the user can act on.

    `what` says in one line what failed, with the value found; `why` adds the cause or the values allowed;
    `next_step` says what to do. The handler in `slipway.cli.main` prints the three and exits with `code`.
    """

    def __init__(self, what: str, *, why: str = "", next_step: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step
        self.code = code

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.next_step) if part)


class ConfigurationError(SlipwayError):
    """Something the user wrote or set is wrong; exits with 2."""

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what, why=why, next_step=next_step, code=ExitCode.USAGE)


def report(error: SlipwayError) -> int:
    """Print the error on standard error and return the exit code of the command."""
    if is_debugging():
        traceback.print_exception(error)
    _print(error.what, error.why, error.next_step)
    return int(error.code)


def report_unexpected(error: Exception) -> int:
    """Report a Slipway defect: one line for the user, the traceback in a log file (SLIPWAY_DEBUG=1 prints it too)."""
    if is_debugging():
        traceback.print_exception(error)
    file = data_home() / "logs" / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # the error may quote the values it found
        text = "".join(traceback.format_exception(error))
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
        why = f"Its traceback is in {file}"
    except OSError as problem:
        why = f"Its traceback could not be written to {file}: {problem}"
    _print(
        f"Unexpected {type(error).__name__}: {error}",
        why,
        "This is a defect in slipway; please report it with that log. SLIPWAY_DEBUG=1 shows the traceback here.",
    )
    return int(ExitCode.FAILED)


def is_debugging() -> bool:
    """Whether SLIPWAY_DEBUG is set, and not to 0."""
    return os.environ.get("SLIPWAY_DEBUG", "") not in ("", "0")


def _print(what: str, why: str, next_step: str) -> None:
    from rich.console import Console  # noqa: PLC0415 -- the program imports this module and never prints
    from rich.text import Text  # noqa: PLC0415

    lines = what.splitlines() or [""]
    text = Text.assemble(("error: ", "bold red"), (lines[0], "red"))
    for line in lines[1:] + why.splitlines():
        text.append(f"\n  {line}")
    if next_step:
        text.append("\n  next: ", "bold").append(next_step.replace("\n", "\n        "))
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
