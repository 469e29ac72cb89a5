"""Remembers, on this machine, a rollback that was begun and came to no end, since it was killed or interrupted.

Without it, the default target would be the very release that the rollback was to lead away from.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from slipway.backend import RollbackInfo, UpdateInfo, UpdateKind
from slipway.deploy.recovery import MESSAGE
from slipway.stack import Stack


@dataclass(frozen=True)
class UnfinishedRollback:
    """From which update back to which, of these services or of all."""

    source: int
    target: int
    services: tuple[str, ...] = ()


@contextmanager
def mark_in_progress(stack: Stack, rollback: UnfinishedRollback) -> Iterator[Callable[[], None]]:
    """Known as begun until the block ends, however it ends; longer if what it yields was called.

    That is for an engine that was killed, which leaves no word of the rollback either, or was interrupted.
    """
    file, cut_off = stack.own_file("rollbacks"), threading.Event()
    with suppress(OSError):  # a full disk must not keep anybody from going back
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(rollback)), encoding="utf-8")
    try:
        yield cut_off.set
    finally:
        if not cut_off.is_set():
            with suppress(OSError):
                file.unlink(missing_ok=True)


def resume_target(stack: Stack, entries: Sequence[UpdateInfo], services: Sequence[str]) -> int | None:
    """Where a rollback of `services` was on its way to that was cut off, unless there was an update since.

    `entries` are the history, the oldest first; what recovers from a kill is recorded in it too, and is no update, and
    so may be the rollback itself, as failed.
    """
    try:
        begun = UnfinishedRollback(**json.loads(stack.own_file("rollbacks").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or not ours
        return None
    updates = [entry for entry in entries if not (entry.kind is UpdateKind.REFRESH and entry.message == MESSAGE)]
    if updates and updates[-1].rollback and not updates[-1].succeeded and _is_of(updates[-1].rollback, begun):
        updates.pop()
    same = [entry.number for entry in updates[-1:]] == [begun.source] and sorted(begun.services) == sorted(services)
    return begun.target if same else None


def _is_of(rollback: RollbackInfo, begun: UnfinishedRollback) -> bool:
    return (rollback.source, rollback.target) == (begun.source, begun.target)
