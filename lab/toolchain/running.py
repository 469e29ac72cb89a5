"""Runs a long command with its output in a log and its last line on the screen, and never leaves it running."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from slipway.errors import SlipwayError
from slipway.progress import Step, elapsed_text

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
    silence_seconds: float | None = None,
    next_step: str = "Run the same command again to go on.",
) -> float:
    """Run `command`, appending to `log`; returns the seconds of processor time of it and its child processes.

    Raises `SlipwayError` with the log's last lines if `what` fails, or prints nothing for `silence_seconds`. The error
    ends with the path of the log and `next_step`.
    """
    arguments = [str(word) for word in command]
    with log.open("ab") as stream:
        stream.write(f"$ {' '.join(arguments)}\n".encode())
        stream.flush()
        try:
            status, seconds = _follow(_start(arguments, environment, folder), stream, step, silence_seconds)
            failure = f"exit {status}" if status != 0 else ""
        except TimeoutError:
            seconds, failure = 0.0, f"no output for {elapsed_text(silence_seconds or 0)}"
        except OSError as error:
            raise SlipwayError(f"{what} failed: {arguments[0]} cannot be run", why=str(error)) from error
    if failure:
        raise SlipwayError(
            f"{what} failed ({failure})", why=tail(log), next_step=f"The whole log is in {log}. {next_step}"
        )
    return seconds


def tail(log: Path, lines: int = LINES_IN_ERROR) -> str:
    """The last non-empty lines of `log`."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def _start(arguments: list[str], environment: Mapping[str, str], folder: Path | None) -> subprocess.Popen[bytes]:
    # The kernel then ends the command if this process is killed.
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
    return subprocess.Popen(
        [*prefix, *arguments],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _follow(
    process: subprocess.Popen[bytes], log: IO[bytes], step: Step, silence_seconds: float | None
) -> tuple[int, float]:
    """Copy the process's output to `log` and `step` until it ends; returns its exit status and processor time."""
    output = cast(IO[bytes], process.stdout)
    try:
        for line in _lines(output, silence_seconds):
            log.write(line)
            log.flush()
            # Without text that a progress bar has overwritten.
            step.update(line.rstrip().rpartition(b"\r")[2].decode(errors="replace"))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, used.ru_utime + used.ru_stime
    except BaseException:
        process.terminate()
        try:
            process.wait(_TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        output.close()


def _lines(output: IO[bytes], silence_seconds: float | None) -> Iterator[bytes]:
    """The lines of `output`, as they come; raises `TimeoutError` if nothing comes for `silence_seconds`."""
    rest = b""
    while True:
        if not select.select([output], [], [], silence_seconds)[0]:
            raise TimeoutError
        chunk = os.read(output.fileno(), 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if not chunk:
            break
    if rest:
        yield rest
