"""What every backend answers about one stack's history; each kind of backend is one module beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from slipway.state.checkpoint import Snapshot


class UnreadableError(Exception):
    """A record that is missing, truncated or corrupt; the text names it and says which."""


@dataclass(frozen=True)
class Record:
    """Where a backend keeps one update, known from its list alone."""

    number: int
    finished: datetime
    update: str = ""
    """The file of what the engine says about the update; empty when there is none."""
    checkpoint: str = ""
    """The file of the state after it; empty when there is none."""
    problem: str = ""
    """What is missing of it; such an update is not read at all."""
    size: int = 0
    """Of the checkpoint file, in bytes; 0 where it is not known."""


class Source(Protocol):
    """A backend, as far as the history of one stack goes."""

    @property
    def place(self) -> str:
        """Which stack of which backend this is, as no other is."""
        ...

    def records(self) -> Sequence[Record]:
        """All updates, oldest first, numbered from 1."""
        ...

    def updates(self, records: Sequence[Record]) -> Sequence[Mapping[str, Any] | UnreadableError]:
        """What the engine recorded of each, in the same order, times in seconds since 1970."""
        ...

    def checkpoint(self, record: Record) -> Snapshot:
        """The state that an update left, or UnreadableError."""
        ...

    def present(self) -> Snapshot | None:
        """The state of the stack now, `None` for a stack that does not exist, or UnreadableError."""
        ...

    def is_held(self) -> bool:
        """Whether an update of the stack is under way, or was killed and has left its lock."""
        ...
