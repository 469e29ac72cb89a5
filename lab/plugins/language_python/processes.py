"""The interpreters that run programs, policy packs and plugins, each in a process group of its own.

The engine ends a plugin by interrupting its process group, but a program must be interrupted once, by the host, with
time to clean up.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

if TYPE_CHECKING:
    from io import BufferedReader, BufferedWriter

EXECUTOR = Path(__file__).with_name("executor.py")
GRACE_SECONDS = 3.0  # the engine kills the host five seconds after it interrupted it


class Request(TypedDict, total=False):
    """What the executor must run; `config` and the keys after it are for programs only."""

    kind: str  # "program", "path", "module" or "policy"
    target: str  # an entry point, a folder, a module's name or a pack's folder
    arguments: list[str]
    working_directory: str
    environment: dict[str, str]
    config: dict[str, str]
    config_secret_keys: list[str]
    settings: dict[str, Any]


class ProgramProcess:
    """An interpreter that loads the SDK and then waits for a request."""

    def __init__(self, python: str, process: subprocess.Popen[bytes]) -> None:
        self.python = python
        self.interrupted = False
        self._process = process

    @classmethod
    def start(cls, python: str, *, piped: bool = False) -> ProgramProcess:
        """Start `python`; its output goes where the host's goes, or into pipes, unbuffered, if `piped`."""
        output = subprocess.PIPE if piped else None
        command = [python, "-u", str(EXECUTOR)] if piped else [python, str(EXECUTOR)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, process_group=0)
        return cls(python, process)

    @property
    def stdout(self) -> BufferedReader:
        """The pipe of a `piped` process."""
        return cast("BufferedReader", self._process.stdout)

    @property
    def stderr(self) -> BufferedReader:
        """The pipe of a `piped` process."""
        return cast("BufferedReader", self._process.stderr)

    def run(self, request: Request) -> None:
        """Send the one request; stdin stays open, because its end tells the executor that the host died."""
        stdin = cast("BufferedWriter", self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it ended already: see `wait`
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()

    def wait(self) -> int:
        """Wait for the end; returns the exit code, negative for a signal's number."""
        return self._process.wait()

    def interrupt(self) -> None:
        """Interrupt the program and its child processes, to clean up and end."""
        self.interrupted = True
        self._signal(signal.SIGINT)

    def stop(self) -> None:
        """Interrupt, and kill it if it has not ended after `GRACE_SECONDS`."""
        self.interrupt()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End at once, and leave no zombie."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
