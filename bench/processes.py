"""Measures the processor time of a command, by kind of process."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# Each sample of all processes takes some milliseconds of one core away from the command.
SAMPLE_EVERY_SECONDS = 0.2
OUTPUT_SHOWN = 4000
COMMAND_TIMEOUT_SECONDS = 3600
END_WITHIN_SECONDS = 20

# The first match counts: all its words are in the command line.
KINDS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("command line", ("slipway.cli.main",)),
    ("program's gate", ("policy.program_check_process",)),
    ("policy pack", ("pulumi.policy",)),
    ("policy pack", ("-u", "language_python/executor.py")),
    ("program", ("language_python/executor.py",)),
    ("program", ("pulumi-language-python-exec",)),
    ("language host", ("language_python",)),
    ("language host", ("pulumi-language-python",)),
    ("kubernetes provider", ("pulumi-resource-kubernetes",)),
    ("docker-build provider", ("pulumi-resource-docker-build",)),
    ("docker provider", ("pulumi-resource-docker",)),
    ("docker provider", ("lab.plugins.docker",)),
)
BY_NAME = {"pulumi": "engine", "helm": "helm"}
OTHER = "other"


class CommandError(Exception):
    """A timed command failed; the text has the end of its output."""


@dataclass(frozen=True)
class Run:
    """The time of one command: seconds of wall time, and of processor time by kind of process.

    `other` includes time that no sample saw: processes that began and ended between two samples.
    """

    seconds: float
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)


def kind_of(command: Sequence[str]) -> str:
    """The kind of a process by its command line."""
    if not command:
        return OTHER
    text = " ".join(command)
    for kind, words in KINDS:
        if all(word in command if word.startswith("-") else word in text for word in words):
            return kind
    return BY_NAME.get(Path(command[0]).name, OTHER)


def by_kind(seen: Mapping[int, tuple[str, float]], total_seconds: float) -> dict[str, float]:
    """Seconds of processor time by kind, largest first; `seen` has the last known kind and seconds of each process."""
    sums: dict[str, float] = {}
    for kind, seconds in seen.values():
        sums[kind] = sums.get(kind, 0.0) + seconds
    sums[OTHER] = sums.get(OTHER, 0.0) + max(0.0, total_seconds - sum(sums.values()))
    return {kind: round(seconds, 2) for kind, seconds in sorted(sums.items(), key=lambda item: -item[1]) if seconds > 0}


def timed(command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> tuple[Run, str]:
    """Run the command; returns its times and its output. Raises CommandError if it fails.

    Any exception here also ends the command and all its processes.
    """
    used_before, began = _used_by_children(), time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,  # only we get a terminal's Ctrl-C
    )
    sampler = _Sampler(process.pid)
    try:
        output, _ = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        seconds = time.monotonic() - began
    except BaseException:
        _end(process)
        raise
    finally:
        sampler.stop()
    if process.returncode:
        raise CommandError(f"{' '.join(command)} ended with exit code {process.returncode}:\n{output[-OUTPUT_SHOWN:]}")
    return Run(round(seconds, 2), by_kind(sampler.seen, _used_by_children() - used_before)), output


def _used_by_children() -> float:
    """Processor time of all ended and waited-for children, including grandchildren."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Sampler:
    """Samples a process and its descendants until it is stopped; `seen` has the kind and processor time of each."""

    def __init__(self, pid: int) -> None:
        self.seen: dict[int, tuple[str, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self, pid: int) -> None:
        while not self._ended.wait(SAMPLE_EVERY_SECONDS):
            with suppress(psutil.Error):
                root = psutil.Process(pid)
                for process in (root, *root.children(recursive=True)):
                    self._look_at(process)

    def _look_at(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):  # it ended just now
            used = process.cpu_times()
            # Read each time: right after a fork the command line is still the parent's. An ending process has none.
            command, (kind, _) = process.cmdline(), self.seen.get(process.pid, (OTHER, 0.0))
            self.seen[process.pid] = (kind_of(command) if command else kind, used.user + used.system)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the command and all its descendants: plugins have process groups of their own."""
    with suppress(psutil.Error):
        root = psutil.Process(process.pid)
        below = root.children(recursive=True)
        for each in (root, *below):
            with suppress(psutil.Error):
                each.send_signal(signal.SIGSTOP)  # so that none starts another one
        for each in (*root.children(recursive=True), *below, root):
            with suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(below, END_WITHIN_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END_WITHIN_SECONDS)
