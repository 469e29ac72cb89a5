"""Reads /proc: which processes exist, since when, whose they are, and which ports they hold. Signals and ends them."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.errors import SlipwayError

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"
# A process that was just killed may hold its port for a moment.
_RELEASE_SECONDS = 2.0
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - looked for, not bound


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


@dataclass(frozen=True)
class Listen:
    """An address that a daemon listens on; `protocol` is `tcp` or `udp`."""

    address: str
    port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class _BoundSocket:
    address: str
    port: int
    inode: str


def decode_address(text: str) -> tuple[str, int]:
    """`0100007F:1388` (as in /proc/net/tcp: 32-bit words in host order) to `127.0.0.1`, 5000."""
    words, port = text.split(":")
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def _sockets(protocol: str) -> Iterator[_BoundSocket]:
    for table in (protocol, f"{protocol}6"):
        path = PROC / "net" / table
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if protocol == "udp" or fields[3] == _LISTEN:
                address, port = decode_address(fields[1])
                yield _BoundSocket(address, port, fields[9])


def _clashes(needed: Listen, bound: _BoundSocket) -> bool:
    same_address = bound.address in (needed.address, f"::ffff:{needed.address}")
    return bound.port == needed.port and (same_address or bound.address in _WILDCARDS or needed.address in _WILDCARDS)


def port_holders(needed: Listen) -> list[int]:
    """Pids of the processes whose sockets conflict with `needed`; 0 for one that cannot be seen."""
    inodes = {bound.inode for bound in _sockets(needed.protocol) if _clashes(needed, bound)}
    return sorted(_owner(inode) for inode in inodes)


def _owner(inode: str) -> int:
    target = f"socket:[{inode}]"
    for pid in all_pids():
        try:
            descriptors = list((PROC / str(pid) / "fd").iterdir())
        except OSError:  # ended meanwhile
            continue
        for descriptor in descriptors:
            try:
                if str(descriptor.readlink()) == target:
                    return pid
            except OSError:  # closed meanwhile
                continue
    return 0


def require_free_ports(name: str, needed: Iterable[Listen]) -> None:
    """Raise SlipwayError that names the process if a port that `name` needs is taken, and stays so for a moment."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    for listen in needed:
        while (pids := port_holders(listen)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if pids:
            raise SlipwayError(
                f"{name} needs {listen.protocol} port {listen.port} on {listen.address}, which is in use",
                why="; ".join(
                    f"by process {pid}: {' '.join(command_line(pid))[:200]}"
                    if pid
                    else "by a process that is not visible here (in another container or network namespace)"
                    for pid in pids
                ),
                next_step="stop that process, or change the port in lab/settings.py, then run `slipway lab up` again",
            )
