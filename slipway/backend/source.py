"""The interface of all backends to one stack's history; each kind of backend is one module beside this one."""

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
    """Where a backend keeps one update, known from the list of updates alone."""

    number: int
    finished: datetime
    update: str = ""
    """The file of the engine's record of the update; empty if there is none."""
    checkpoint: str = ""
    """The file of the state after it; empty if there is none."""
    problem: str = ""
    """Why the record is incomplete; such an update is not read at all."""
    size: int = 0
    """The size of the checkpoint file, in bytes; 0 if it is not known."""


class Source(Protocol):
    """The history of one stack in a backend."""

    @property
    def place(self) -> str:
        """A text that identifies this stack and backend uniquely."""
        ...

    def records(self) -> Sequence[Record]:
        """All updates, oldest first, numbered from 1."""
        ...

    def updates(self, records: Sequence[Record]) -> Sequence[Mapping[str, Any] | UnreadableError]:
        """The engine's record of each, in the same order, with times in seconds since 1970."""
        ...

    def checkpoint(self, record: Record) -> Snapshot:
        """The state that an update left; raises UnreadableError."""
        ...

    def present(self) -> Snapshot | None:
        """The present state of the stack, `None` if the stack does not exist; raises UnreadableError."""
        ...

    def is_held(self) -> bool:
        """Whether an update of the stack is in progress, or was killed and has left its lock."""
        ...
