"""Reads /proc: which processes exist, since when, and whose they are. Signals and ends them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ProcessId:
    """A process; the clock tick at which it started distinguishes it from a later one with the same pid."""

    pid: int
    start_ticks: int


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the program's name, which may contain spaces and brackets."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def identify(pid: int) -> ProcessId | None:
    """The identity of a running process; `None` if it is gone or a zombie."""
    fields = _stat_fields(pid)
    if fields is None or (fields[0] in "ZXx" and not _has_other_threads(pid)):
        return None
    return ProcessId(pid, int(fields[19]))


def _has_other_threads(pid: int) -> bool:
    """Whether it has other threads: a killed process looks like a zombie until they and its sockets are gone."""
    try:
        return len(list((PROC / str(pid) / "task").iterdir())) > 1
    except OSError:
        return False


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def parent(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else None


def leads_session(pid: int) -> bool:
    fields = _stat_fields(pid)
    return fields is not None and int(fields[3]) == pid


def resident_bytes(pid: int) -> int:
    fields = _stat_fields(pid)
    return int(fields[21]) * _PAGE_BYTES if fields else 0


def age_seconds(process: ProcessId) -> float:
    uptime = float((PROC / "uptime").read_text().split()[0])
    return max(0.0, uptime - process.start_ticks / _TICKS_PER_SECOND)


def all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:  # gone meanwhile, or a kernel thread
        return b""


def command_line(pid: int) -> list[str]:
    return [part.decode(errors="replace") for part in _read(pid, "cmdline").split(b"\0") if part]


def works_in(pid: int, folder: os.stat_result) -> bool:
    """Whether the process has `folder` as its working directory, by any path."""
    try:
        return os.path.samestat((PROC / str(pid) / "cwd").stat(), folder)
    except OSError:  # gone meanwhile, or a kernel thread
        return False


def environment_value(pid: int, key: str) -> str | None:
    """A variable of the process's initial environment; `None` if it is not set."""
    prefix = f"{key}=".encode()
    for entry in _read(pid, "environ").split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def find_processes(matches: Callable[[int], bool]) -> list[ProcessId]:
    """Running processes for which `matches` is true, except this one."""
    found = []
    for pid in all_pids():
        process = identify(pid)
        # Identified again afterwards: meanwhile the pid may have passed to another process.
        if process and pid != os.getpid() and matches(pid) and identify(pid) == process:
            found.append(process)
    return found


def signal_process(process: ProcessId, number: signal.Signals) -> None:
    """Send a signal to exactly this process; does nothing if it has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor pins the process: if it is ours now, the signal cannot reach a later one with its pid.
        if is_alive(process):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def wait_gone(processes: Collection[ProcessId], timeout_seconds: float) -> list[ProcessId]:
    """Wait until none of them runs; returns the ones that still run."""
    deadline = time.monotonic() + timeout_seconds
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if is_alive(process)]
    return left


def stop_all(
    processes: Collection[ProcessId], timeout_seconds: float, first: signal.Signals = signal.SIGTERM
) -> list[ProcessId]:
    """Signal all of them to end, then kill the ones that did not; returns the ones that survive even that."""
    for process in processes:
        signal_process(process, first)
    return kill_all(wait_gone(processes, timeout_seconds))


def kill_all(processes: Collection[ProcessId]) -> list[ProcessId]:
    """Kill them, and wait; returns the ones that still exist, which only the kernel can hold."""
    for process in processes:
        signal_process(process, signal.SIGKILL)
    return wait_gone(processes, 10)
