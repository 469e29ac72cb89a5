"""Runs a long command with its output in a log and its last line on the screen, and never leaves it behind."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from slipway.errors import SlipwayError
from slipway.progress import Step

LINES_IN_ERROR = 12
_TERMINATE_SECONDS = 10.0


def run_logged(
    command: Sequence[str | Path],
    *,
    what: str,
    log: Path,
    step: Step,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> None:
    """Run `command`, appending to `log`; raises `SlipwayError` with the log's last lines if `what` fails."""
    arguments = [str(word) for word in command]
    with log.open("ab") as stream:
        stream.write(f"$ {' '.join(arguments)}\n".encode())
        stream.flush()
        try:
            status = _run(arguments, stream, step, environment, folder)
        except OSError as error:
            raise SlipwayError(f"{what} failed: {arguments[0]} cannot be run", why=str(error)) from error
    if status != 0:
        raise SlipwayError(
            f"{what} failed (exit {status})",
            why=tail(log),
            next_step=f"The whole log is in {log}. Run the same command again to go on.",
        )


def tail(log: Path, lines: int = LINES_IN_ERROR) -> str:
    """The last non-empty lines of `log`."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def _run(arguments: list[str], log: IO[bytes], step: Step, environment: Mapping[str, str], folder: Path | None) -> int:
    process = subprocess.Popen(
        [*_tied_to_us(), *arguments],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = cast(IO[bytes], process.stdout)
    try:
        for line in output:
            log.write(line)
            log.flush()
            # What a progress bar drew over is no longer to be seen.
            step.update(line.rstrip().rpartition(b"\r")[2].decode(errors="replace"))
        return process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        output.close()


def _tied_to_us() -> list[str]:
    """A prefix that has the kernel end the command should this process be killed; nothing where there is no setpriv."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
