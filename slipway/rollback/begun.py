"""Remembers, on this machine, a rollback that was begun: one that is killed leaves no word of itself in the history.

Without it, the default target would be the very release that the rollback was to lead away from.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from slipway.history import Entry, Kind
from slipway.session import Session
from slipway.updates.recovery import MESSAGE


@dataclass(frozen=True)
class Begun:
    """From which update back to which, of these services or of all."""

    source: int
    target: int
    services: tuple[str, ...] = ()


@contextmanager
def remembered(session: Session, stack: str, rollback: Begun) -> Iterator[Callable[[], None]]:
    """Known as begun until the block ends, however it ends; longer if what it yields was called.

    That is for an engine that was killed: it leaves no word of the rollback either.
    """
    file, killed = session.own_file("rollbacks", stack), threading.Event()
    with suppress(OSError):  # a full disk must not keep anybody from going back
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(rollback)), encoding="utf-8")
    try:
        yield killed.set
    finally:
        if not killed.is_set():
            with suppress(OSError):
                file.unlink(missing_ok=True)


def recall(session: Session, stack: str, entries: Sequence[Entry], services: Sequence[str]) -> int | None:
    """Where a rollback of `services` was on its way to that was killed, unless there was an update since.

    `entries` are the history, the oldest first; what recovers from the kill is recorded in it too, and is no update.
    """
    try:
        begun = Begun(**json.loads(session.own_file("rollbacks", stack).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or not ours
        return None
    updates = [entry.number for entry in entries if not (entry.kind is Kind.REFRESH and entry.message == MESSAGE)]
    same = updates[-1:] == [begun.source] and sorted(begun.services) == sorted(services)
    return begun.target if same else None
