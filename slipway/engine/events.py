"""The engine's events as typed values, with the times of their arrival, and the log file that keeps them."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from slipway.errors import ConfigurationError
from slipway.paths import data_home

STACK_TYPE = "pulumi:pulumi:Stack"
# Both, because a resource may have a property `severity`.
DEBUG_MARK = '"severity":"debug"'
DIAGNOSTIC_MARK = '"diagnosticEvent":{'
HEAD_LENGTH = 100
KEPT_LOGS = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Urn:
    """A resource of the stack, as its URN names it: `urn:pulumi:dev::slipway::parent$type::name`."""

    urn: str

    @property
    def type(self) -> str:
        return self.urn.split("::")[2].rsplit("$", 1)[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]

    @property
    def kind(self) -> str:
        """The last part of the type, as people call it: `Deployment`, `Image`."""
        return self.type.rsplit(":", 1)[-1]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Event:
    """`at_seconds` counts from the start of the run: the engine's own stamps are whole seconds."""

    at_seconds: float


@dataclass(frozen=True)
class StepEvent(Event):
    """`operation` is the engine's word: same, create, update, delete, replace, read, …; not `custom`: a component."""

    resource: Urn
    operation: str
    custom: bool = False

    @property
    def changes(self) -> bool:
        return self.operation not in ("same", "read", "refresh")


@dataclass(frozen=True)
class Started(StepEvent):
    """The engine began an operation; `inputs` are the new ones of the resource, secrets masked."""

    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished(StepEvent):
    """The operation succeeded; `outputs` are the resource's, secrets masked."""

    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed(StepEvent):
    """The operation failed; the diagnostics say why."""


@dataclass(frozen=True)
class Diagnostic(Event):
    """A message about a resource (`None`: about the run); `ephemeral` marks a status that the next one replaces."""

    resource: Urn | None
    severity: str
    message: str
    ephemeral: bool = False


@dataclass(frozen=True)
class SummaryEvent(Event):
    """The end of the update: how many resources had which operation."""

    changes: Mapping[str, int]
    result: str


def is_debug(line: str) -> bool:
    """Whether a line is one of the SDK's debug messages, which log every property of every resource."""
    return DEBUG_MARK in line and DIAGNOSTIC_MARK in line[:HEAD_LENGTH]


def parse(line: str, at_seconds: float) -> Event | None:
    """The event in one line of `pulumi up --json`; `None` for any other line, and for events that are not needed."""
    if is_debug(line):  # most of the stream
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    found: Event | None = None
    if body := event.get("resourcePreEvent"):
        inputs = (body["metadata"].get("new") or {}).get("inputs") or {}
        found = _step(Started, body["metadata"], at_seconds, inputs=inputs)
    elif body := event.get("resOutputsEvent"):
        outputs = (body["metadata"].get("new") or {}).get("outputs") or {}
        found = _step(Finished, body["metadata"], at_seconds, outputs=outputs)
    elif body := event.get("resOpFailedEvent"):
        found = _step(Failed, body["metadata"], at_seconds)
    elif body := event.get("diagnosticEvent"):
        urn, message = body.get("urn"), body.get("message", "").rstrip("\n")
        severity, is_ephemeral = body.get("severity", "info"), bool(body.get("ephemeral"))
        found = Diagnostic(at_seconds, Urn(urn) if urn else None, severity, message, is_ephemeral)
    elif body := event.get("summaryEvent"):
        found = SummaryEvent(at_seconds, body.get("resourceChanges") or {}, body.get("result", ""))
    return found


def _step(
    kind: type[Started] | type[Finished] | type[Failed], metadata: dict[str, Any], at_seconds: float, **more: Any
) -> StepEvent:
    state = metadata.get("new") or metadata.get("old") or {}
    return kind(at_seconds, Urn(metadata["urn"]), metadata["op"], bool(state.get("custom")), **more)


@dataclass
class EventLog:
    """`name` is the file's name. If the log can no longer be written, the rest is left out and the update goes on."""

    name: str
    _stream: TextIO | None

    def write(self, text: str) -> None:
        if self._stream:
            try:
                self._stream.write(text)
            except OSError:
                self.close()

    def write_line(self, line: str, at_seconds: float) -> None:
        """Write the seconds since the start and one event, but no debug messages of the SDK (most of the stream)."""
        if not is_debug(line):
            self.write(f"{at_seconds:.3f} {line}")

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            with suppress(OSError):  # buffered text cannot be written either
                stream.close()


def require_log_folder() -> Path:
    """The folder of the logs, created if it is missing; raises ConfigurationError if it cannot be written."""
    folder = data_home() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
    except OSError as error:
        problem = "" if error.errno in DISK_FULL else str(error)
    if problem:
        raise ConfigurationError(
            f"The data folder {data_home()} cannot be written.",
            why=problem,
            next_step="Make it writable for this user, or set SLIPWAY_HOME to a folder that is.",
        )
    return folder


@contextmanager
def open_log(command: str, stack: str) -> Iterator[EventLog]:
    """A new file in the data folder, readable only by its owner; the oldest logs of the same command are removed.

    Raises ConfigurationError if the folder cannot be written; on a full disk nothing is kept.
    """
    folder = require_log_folder()
    for old in sorted(folder.glob(f"{command}-*.log"), key=_modified)[: -KEPT_LOGS + 1]:
        old.unlink(missing_ok=True)
    file = folder / f"{command}-{stack}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    stream = None
    try:
        file.touch(mode=0o600)
        stream = file.open("w", encoding="utf-8")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
    log = EventLog(str(file), stream)
    try:
        yield log
    finally:
        log.close()


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another command removed it just now
        return 0.0
