"""The engine's events as typed values: operations started, finished and failed, messages, and their arrival times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STACK_TYPE = "pulumi:pulumi:Stack"
# Both, because a resource may have a property `severity`.
DEBUG_MARK = '"severity":"debug"'
DIAGNOSTIC_MARK = '"diagnosticEvent":{'
HEAD_LENGTH = 100


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
    return _typed(event, at_seconds)


def _typed(event: dict[str, Any], at_seconds: float) -> Event | None:
    if body := event.get("resourcePreEvent"):
        inputs = (body["metadata"].get("new") or {}).get("inputs") or {}
        return _step(Started, body["metadata"], at_seconds, inputs=inputs)
    if body := event.get("resOutputsEvent"):
        outputs = (body["metadata"].get("new") or {}).get("outputs") or {}
        return _step(Finished, body["metadata"], at_seconds, outputs=outputs)
    if body := event.get("resOpFailedEvent"):
        return _step(Failed, body["metadata"], at_seconds)
    if body := event.get("diagnosticEvent"):
        return _diagnostic(body, at_seconds)
    if body := event.get("summaryEvent"):
        return SummaryEvent(at_seconds, body.get("resourceChanges") or {}, body.get("result", ""))
    return None


def _step(
    kind: type[Started] | type[Finished] | type[Failed], metadata: dict[str, Any], at_seconds: float, **more: Any
) -> StepEvent:
    state = metadata.get("new") or metadata.get("old") or {}
    return kind(at_seconds, Urn(metadata["urn"]), metadata["op"], bool(state.get("custom")), **more)


def _diagnostic(body: dict[str, Any], at_seconds: float) -> Diagnostic:
    urn = body.get("urn")
    return Diagnostic(
        at_seconds,
        Urn(urn) if urn else None,
        body.get("severity", "info"),
        body.get("message", "").rstrip("\n"),
        bool(body.get("ephemeral")),
    )
