"""A recorded update: where a backend keeps it, what it did, and how its message marks a rollback. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from slipway.state.checkpoint import Snapshot

OVERRIDDEN = "; policies overridden: "
ROLLBACK = re.compile(
    r"rollback of #(?P<source>\d+) to #(?P<target>\d+)(?: \((?P<services>[^()]*)\))?"
    rf"(?:{re.escape(OVERRIDDEN)}(?P<reason>.*))?",
    re.DOTALL,
)
ROLLBACK_KEY = "rollbackTo"
ROLLBACK_SETTING = f"slipway:{ROLLBACK_KEY}"
# The recorded kind of a `pulumi import` of single resources: pulumi, sdk/go/common/apitype/history.go.
RESOURCE_IMPORT = "resource-import"


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
    """The history of one stack in a backend, self-managed or Pulumi Cloud."""

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


class UpdateKind(StrEnum):
    """What an update did: the engine's kinds, and `rollback` for an update that declared a recorded state again."""

    UPDATE = "update"
    ROLLBACK = "rollback"
    REFRESH = "refresh"
    DESTROY = "destroy"
    IMPORT = "import"
    RENAME = "rename"


@dataclass(frozen=True)
class RollbackInfo:
    """A rollback from update `source` to `target`, of all services or of the named ones."""

    source: int
    target: int
    services: tuple[str, ...] = ()
    reason: str = ""
    """Why today's policies were overridden; empty if they were not."""


@dataclass(frozen=True)
class UpdateInfo:
    """One finished update of the stack. One with a `problem` cannot be read: only its number and time are known."""

    number: int
    kind: UpdateKind
    succeeded: bool
    started: datetime
    duration_seconds: float = 0.0
    author: str = ""
    commit: str = ""
    dirty: bool = False
    message: str = ""
    changes: Mapping[str, int] = field(default_factory=dict)
    rollback: RollbackInfo | None = None
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problem: str = ""


def rollback_message(source: int, target: int, services: Sequence[str] = (), reason: str = "") -> str:
    """The message under which a rollback is recorded; `parse_rollback` reads it."""
    only = f" ({', '.join(services)})" if services else ""
    overridden = f"{OVERRIDDEN}{reason}" if reason else ""
    return f"rollback of #{source} to #{target}{only}{overridden}"


def parse_rollback(message: str) -> RollbackInfo | None:
    """The rollback in a message of `rollback_message`; `None` for the message of any other update."""
    found = ROLLBACK.fullmatch(message)
    if found is None:
        return None
    names = (name.strip() for name in (found["services"] or "").split(","))
    return RollbackInfo(int(found["source"]), int(found["target"]), tuple(filter(None, names)), found["reason"] or "")


def unreadable(number: int, time: datetime, problem: str) -> UpdateInfo:
    """An entry for an update that cannot be read, so that its number is kept."""
    return UpdateInfo(number, UpdateKind.UPDATE, succeeded=False, started=time, problem=problem)


def entry(number: int, update: Mapping[str, Any], project: str) -> UpdateInfo:
    """Parse an update as the engine recorded it, times in seconds since 1970; raises ValueError for any other shape."""
    try:
        started, ended = float(update["startTime"]), float(update["endTime"])
        environment = update.get("environment") or {}
        message, config = str(update.get("message") or ""), update.get("config") or {}
        kind = UpdateKind.IMPORT if update["kind"] == RESOURCE_IMPORT else UpdateKind(update["kind"])
        rollback = None
        if kind is UpdateKind.UPDATE:
            rollback = parse_rollback(message)
            # With the stack's own setting a plain `pulumi up` is a rollback too.
            setting = config.get(f"{project}:{ROLLBACK_KEY}")
            target = str((setting.get("value") if isinstance(setting, Mapping) else setting) or "")
            if rollback is None and target.isdecimal():
                rollback = RollbackInfo(source=number - 1, target=int(target))
        return UpdateInfo(
            number,
            UpdateKind.ROLLBACK if rollback else kind,
            succeeded=update["result"] == "succeeded",
            started=datetime.fromtimestamp(started, UTC),
            duration_seconds=max(0.0, ended - started),
            author=str(environment.get("git.author") or environment.get("git.committer") or ""),
            commit=str(environment.get("git.head") or ""),
            dirty=environment.get("git.dirty") == "true",
            message=message,
            changes=dict(update.get("resourceChanges") or {}),
            rollback=rollback,
            config=config,
        )
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"it is not the record of an update: {type(error).__name__}: {error}") from error
