"""The one error a user sees, and the exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means; part of the public contract."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    POLICY = 3
    ROLLED_BACK = 4
    ROLLBACK_FAILED = 5
    DRIFT = 6
    INTERRUPTED = 130


class SlipwayError(Exception):
    """A failure a person can act on.

    `what` says in one line what failed and the value met; `why` adds the cause or the values allowed;
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
