"""Remembers, on this machine, a rollback that began but did not finish, because it was killed or interrupted.

Without this, the default target would be the release that the rollback should have left.
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
    """A rollback from update `source` to `target`, of these services or of all."""

    source: int
    target: int
    services: tuple[str, ...] = ()


@contextmanager
def mark_in_progress(stack: Stack, rollback: UnfinishedRollback) -> Iterator[Callable[[], None]]:
    """Remember the rollback until the block ends, also with an error; longer if the yielded function was called.

    Call it if the engine was killed, which leaves no record of the rollback, or was interrupted.
    """
    file, cut_off = stack.own_file("rollbacks"), threading.Event()
    with suppress(OSError):  # a full disk must not prevent a rollback
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(rollback)), encoding="utf-8")
    try:
        yield cut_off.set
    finally:
        if not cut_off.is_set():
            with suppress(OSError):
                file.unlink(missing_ok=True)


def resume_target(stack: Stack, entries: Sequence[UpdateInfo], services: Sequence[str]) -> int | None:
    """The target of a rollback of `services` that was cut off; `None` if there is none, or an update came since.

    `entries` are the history, oldest first. The recovery from a kill is recorded in it too, but is no update. The
    rollback itself may also be recorded, as failed.
    """
    try:
        unfinished = UnfinishedRollback(**json.loads(stack.own_file("rollbacks").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or an invalid one
        return None
    updates = [entry for entry in entries if not (entry.kind is UpdateKind.REFRESH and entry.message == MESSAGE)]
    if updates and updates[-1].rollback and not updates[-1].succeeded and _is_of(updates[-1].rollback, unfinished):
        updates.pop()
    is_newest = [entry.number for entry in updates[-1:]] == [unfinished.source]
    return unfinished.target if is_newest and sorted(unfinished.services) == sorted(services) else None


def _is_of(rollback: RollbackInfo, unfinished: UnfinishedRollback) -> bool:
    return (rollback.source, rollback.target) == (unfinished.source, unfinished.target)
