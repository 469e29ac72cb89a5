"""The only module that starts `pulumi`: captured runs, and updates whose events are read as they happen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from slipway.environment_variables import loopback_excluded
from slipway.errors import ConfigurationError

LAST_WORDS_LINES = 200
KILL_AFTER_SECONDS = 3.0
WATCH_EVERY_SECONDS = 0.5
# Settings of Go's garbage collector, unless the user has set them. They save an eighth of the engine's processor time
# at 50 services, for twice the memory (600 MB). The limit applies to stacks that need much memory.
COLLECTS_LESS = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}

LineHandler = Callable[[str, float], None]
"""Called with each line of standard output and the seconds since the start of the run."""
Overdue = Callable[[float], str]
"""Called with the seconds since the start of the run; returns what takes too long, empty if nothing does."""


@dataclass(frozen=True)
class Completed:
    """How a run of the engine ended."""

    exit_code: int
    output: str = ""
    errors: str = ""
    interrupted: bool = False
    overdue: str = ""
    """The part that took too long, so that the run was ended."""


@dataclass(frozen=True)
class Pulumi:
    """The engine found on PATH of `environment`, run in the project's `folder`."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    def with_variables(self, *more: Mapping[str, str]) -> Pulumi:
        """The same engine with more environment variables."""
        environment = dict(self.environment)
        for each in more:
            environment.update(each)
        return replace(self, environment=environment)

    def program(self) -> str:
        found = shutil.which("pulumi", path=self.environment.get("PATH", os.defpath))
        if found is None:
            raise ConfigurationError(
                "`pulumi` was not found on PATH.",
                why=f"PATH is {self.environment.get('PATH', '')}",
                next_step="`slipway doctor` shows the toolchain; `make up` installs it.",
            )
        return found

    def run(self, *arguments: str, folder: Path | None = None) -> Completed:
        """Run to the end without a terminal and return the output; on Ctrl-C, wait for a clean end first."""
        with self._started(arguments, folder or self.folder) as process:
            try:
                output, errors = process.communicate()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                process.communicate()
                raise
        return Completed(process.returncode, output, errors)

    def stream(
        self,
        arguments: Sequence[str],
        on_line: LineHandler,
        on_interrupt: Callable[[str], None],
        overdue: Overdue | None = None,
        on_start: Callable[[int], None] | None = None,
    ) -> Completed:
        """Run, call `on_start` with the engine's pid, and pass each line of standard output to `on_line` as it arrives.

        The first Ctrl-C asks the engine to cancel: it finishes running operations and releases the stack's lock. The
        second one stops it at once, and so does a result of `overdue`. An error of `on_line` asks it to cancel too, and
        is raised when it has ended.
        """
        started = time.monotonic()
        with self._started(arguments, self.folder) as process:
            if on_start:
                on_start(process.pid)
            stderr = _StderrTail(process)
            watch = _Watch(process, started, overdue)
            failed: Exception | None = None
            with _forwarded_interrupts(process, on_interrupt) as interrupts, watch:
                for line in process.stdout or ():
                    if failed:
                        continue
                    try:
                        on_line(line, time.monotonic() - started)
                    except Exception as error:  # noqa: BLE001 -- raised below: leaving now would kill the engine
                        failed = error
                        process.send_signal(signal.SIGINT)
                exit_code = process.wait()
            if failed:
                raise failed
        interrupted = bool(interrupts.received)
        return Completed(exit_code, errors=stderr.text(), interrupted=interrupted, overdue=watch.reason)

    @contextmanager
    def _started(self, arguments: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
        command = [self.program(), *arguments, "--non-interactive", "--color", "never"]
        # A process group of its own: a terminal's Ctrl-C must reach the engine through us, once, and not its plugins.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={
                **COLLECTS_LESS,
                **self.environment,
                **loopback_excluded(self.environment),
                "PULUMI_SKIP_UPDATE_CHECK": "true",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                _kill_group(process)
            process.wait()


class _StderrTail:
    """Reads standard error in the background, so that the engine never blocks on it, and keeps its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stderr or ():
            self._lines.append(line)
            del self._lines[:-LAST_WORDS_LINES]

    def text(self) -> str:
        self._thread.join(timeout=KILL_AFTER_SECONDS)
        return "".join(self._lines)


class _Watch:
    """Kills the process as soon as something is overdue; `reason` says what."""

    def __init__(self, process: subprocess.Popen[str], started: float, overdue: Overdue | None) -> None:
        self.reason = ""
        self._process, self._started, self._overdue = process, started, overdue
        self._ended = threading.Event()

    def __enter__(self) -> None:
        if self._overdue:
            threading.Thread(target=self._watch, args=(self._overdue,), daemon=True).start()

    def __exit__(self, *_error: object) -> None:
        self._ended.set()

    def _watch(self, overdue: Overdue) -> None:
        while not self._ended.wait(WATCH_EVERY_SECONDS):
            if reason := overdue(time.monotonic() - self._started):
                self.reason = reason
                _kill_group(self._process)
                return


@dataclass
class _Interrupts:
    """The received signals, which are passed on to the engine."""

    process: subprocess.Popen[str]
    received: list[int] = field(default_factory=list)
    to_say: SimpleQueue[int] = field(default_factory=SimpleQueue)
    """1 for the first interrupt, 2 for each repeated one, 0 at the end."""

    def forward(self, number: int, _frame: FrameType | None) -> None:
        """A signal handler: it may run in the middle of a write, so it writes nothing itself and takes no lock.

        Only Ctrl-C counts as a repeated interrupt: a build server that cancels a job sends SIGTERM some seconds after
        SIGINT, and a closed terminal sends SIGHUP to all its processes.
        """
        repeated = bool(self.received)
        self.received.append(number)
        if repeated and number != signal.SIGINT:
            return
        self.to_say.put(2 if repeated else 1)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def tell(self, say: Callable[[str], None]) -> None:
        """Report interrupts until the end of the run, and kill an engine that a repeated one does not end."""
        for count in iter(self.to_say.get, 0):
            if count == 1:
                say("Interrupted: waiting for the running operations to finish. Press Ctrl-C again to stop at once.")
                continue
            say("Interrupted again: stopping at once.")
            timer = threading.Timer(KILL_AFTER_SECONDS, _kill_group, args=(self.process,))
            timer.daemon = True
            timer.start()


@contextmanager
def _forwarded_interrupts(process: subprocess.Popen[str], say: Callable[[str], None]) -> Iterator[_Interrupts]:
    """Pass SIGINT, SIGTERM and SIGHUP on to the engine; yields the received signals."""
    interrupts = _Interrupts(process)
    teller = threading.Thread(target=interrupts.tell, args=(say,), daemon=True)
    teller.start()
    watched = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # set by `nohup`
        watched.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupts.forward) for number in watched}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupts.to_say.put(0)
        teller.join()


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill the engine and its children: a plugin has its own process group, and only this ends one that hangs."""
    if process.poll() is not None:
        return
    plugins = _descendants(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    for pid in plugins:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended just now
            children += map(int, file.read_text().split())
    return children + [each for child in children for each in _descendants(child)]
