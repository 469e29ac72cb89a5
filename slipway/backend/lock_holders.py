"""Finds out whether the engine that holds a lock still runs, as far as this machine can know.

To identify its process, the engine writes only a pid and a host name into a lock. Another container may have the same
host name, and in another pid namespace the same pid is another process, or none. An engine that is not known to be gone
counts as running.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway.paths import data_home

PROC = Path("/proc")
# PROC_PID_INIT_INO of Linux: the namespace that sees the processes of all others too.
INITIAL_PID_NAMESPACE = 0xEFFFFFFC
# File systems that only one kernel mounts, so that no other machine writes there.
LOCAL_FILE_SYSTEMS = {
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs",
}  # fmt: skip
CLOCK_SLACK_SECONDS = 5.0


@dataclass(frozen=True)
class Lock:
    """The holder of a stack, and the lock file."""

    pid: int
    username: str
    hostname: str
    timestamp: str
    file: Path

    def __str__(self) -> str:
        return f"pid {self.pid} of {self.username}@{self.hostname}, since {self.timestamp}"

    @property
    def is_dead(self) -> bool:
        """Whether the engine that took the lock is known to have ended."""
        return self.doubt() is None

    def doubt(self) -> str | None:
        """Why the engine may still run, empty if it does; `None` if it is gone."""
        if self.hostname != socket.gethostname():
            return f"Only {self.hostname} can tell whether it still runs."
        here, holder = _Holder.of(os.getpid()), _recorded(self.file.name)
        if here and holder and holder.boot_id == here.boot_id:
            if holder.pid_namespace == here.pid_namespace:
                return None if _Holder.of(self.pid) != holder else ""
            return "It runs, or ran, in another container on this machine, whose processes are not visible here."
        if not _is_local(self.file):
            return "Another machine of the same name may have written the lock: its folder is not local."
        sees_all = here and here.pid_namespace == INITIAL_PID_NAMESPACE and os.access(PROC / "1" / "status", os.R_OK)
        if not holder and not sees_all:
            return "Another container may have written the lock, whose processes are not visible here."
        # A recorded holder is from the time before this machine was restarted.
        is_there = not holder and any(self._may_be(process) for process in PROC.glob("[0-9]*"))
        return "" if is_there else None

    def is_of_child(self) -> bool:
        """Whether a child of this process, or a child of such a child, holds the lock."""
        pid = self.pid if self.hostname == socket.gethostname() else 0
        with suppress(OSError):
            while pid > 1 and pid != os.getpid():
                pid = int(_stat(PROC / str(pid))[1])
        return pid == os.getpid()

    def _may_be(self, process: Path) -> bool:
        """Whether it has the lock's pid, in any namespace, and is the engine or started before the lock was written."""
        try:
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
            if str(self.pid) not in status.get("NSpid", status["Pid"]).split() or status["State"].split()[0] in "ZX":
                return False
            ticks = int(_stat(process)[19])
            modified = self.file.stat().st_mtime
        except (FileNotFoundError, ProcessLookupError):  # it ended, or released the lock, just now
            return False
        running_seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        # A wrapper may change the engine's name: `.pulumi-wrapped`.
        return "pulumi" in status["Name"] or time.time() - running_seconds < modified + CLOCK_SLACK_SECONDS


@dataclass(frozen=True)
class _Holder:
    """The process with that pid in this namespace that started `started_ticks` after the start of this kernel."""

    pid: int
    started_ticks: int
    pid_namespace: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> _Holder | None:
        """`None` if there is no such process, or if it is a zombie: a killed process that its parent has not reaped."""
        try:
            state, *fields = _stat(PROC / str(pid))
            boot_id = (PROC / "sys/kernel/random/boot_id").read_text().strip()
            namespace = (PROC / "self/ns/pid").stat().st_ino
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if state in "ZX" else cls(pid, int(fields[18]), namespace, boot_id)


def record_holder(locks: Iterable[Lock]) -> bool:
    """Record which process holds a lock that was taken by a child of this one, so that it is known later.

    Records of locks that are gone are removed. False if there is no such lock.
    """
    folder, own = _folder(), [lock for lock in locks if lock.is_of_child()]
    with suppress(OSError):  # without a record, it may count as running later
        folder.mkdir(parents=True, exist_ok=True)
        for lock in own:
            if holder := _Holder.of(lock.pid):
                entry = {"lock": str(lock.file), **asdict(holder)}
                (folder / lock.file.name).write_text(json.dumps(entry), encoding="utf-8")
        for file in folder.glob("*.json"):
            with suppress(ValueError, KeyError):
                if not Path(json.loads(file.read_text(encoding="utf-8"))["lock"]).exists():
                    file.unlink()
    return bool(own)


def _recorded(name: str) -> _Holder | None:
    try:
        entry = json.loads((_folder() / name).read_text(encoding="utf-8"))
        return _Holder(*(entry[key] for key in ("pid", "started_ticks", "pid_namespace", "boot_id")))
    except (OSError, ValueError, KeyError):
        return None


def _folder() -> Path:
    return data_home() / "locks"


def _stat(process: Path) -> list[str]:
    """The fields of a process from its state on; the name before them may contain blanks and brackets."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _is_local(file: Path) -> bool:
    """Whether only this kernel mounts the file system that has `file`."""
    path = str(file.resolve())
    best, kind = "", ""
    for line in (PROC / "self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split()[4].encode().decode("unicode_escape")
        if len(mount) >= len(best) and (path == mount or path.startswith(mount.rstrip("/") + "/")):
            best, kind = mount, after.split()[0]
    return kind in LOCAL_FILE_SYSTEMS
