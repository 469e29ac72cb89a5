"""Checks every process of the lab: whether it runs, whether it answers, its memory and age."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from . import proc
from .processes import Daemon, NotReadyError, Processes


@dataclass(frozen=True)
class ProcessStatus:
    """One daemon now. `pid` is `None` if it does not run; `problem` is empty if it is healthy."""

    name: str
    pid: int | None
    problem: str
    memory_bytes: int
    uptime_seconds: float
    listens: tuple[str, ...]
    log: str

    @property
    def healthy(self) -> bool:
        return not self.problem

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


def look_at(daemons: Sequence[Daemon], processes: Processes) -> list[ProcessStatus]:
    """Check all at the same time, because a hanging one takes seconds to time out."""
    with ThreadPoolExecutor(max_workers=max(1, len(daemons))) as pool:
        return list(pool.map(lambda daemon: _look_at_one(daemon, processes), daemons))


def _look_at_one(daemon: Daemon, processes: Processes) -> ProcessStatus:
    process = processes.running(daemon.name)
    return ProcessStatus(
        name=daemon.name,
        pid=process.pid if process else None,
        problem=_problem(daemon) if process else "does not run",
        memory_bytes=proc.resident_bytes(process.pid) if process else 0,
        uptime_seconds=proc.age_seconds(process) if process else 0.0,
        listens=(*map(str, daemon.listens), *([str(daemon.socket)] if daemon.socket else [])),
        log=str(processes.log(daemon.name)),
    )


def _problem(daemon: Daemon) -> str:
    try:
        daemon.probe()
    except NotReadyError as problem:
        return str(problem)
    return ""
