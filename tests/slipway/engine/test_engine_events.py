"""The engine's JSON lines as typed events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.engine.events import Diagnostic, Failed, Finished, Started, SummaryEvent, Urn, parse

URN = "urn:pulumi:dev::slipway::slipway:index:ServiceImage$docker-build:index:Image::user-service"


def line(**event: Any) -> str:
    return json.dumps({"sequence": 1, "timestamp": 2, **event})


def test_a_resource_is_called_by_its_kind_and_name() -> None:
    resource = Urn(URN)
    assert (resource.type, resource.name) == ("docker-build:index:Image", "user-service")
    assert str(resource) == "Image user-service"


def test_a_name_may_have_colons() -> None:
    assert Urn("urn:pulumi:dev::p::kubernetes:core/v1:Secret::a::b").name == "a::b"


@pytest.mark.parametrize(
    ("key", "kind"), [("resourcePreEvent", Started), ("resOutputsEvent", Finished), ("resOpFailedEvent", Failed)]
)
def test_operations(key: str, kind: type[Started | Finished | Failed]) -> None:
    metadata = {"urn": URN, "op": "create", "old": None, "new": {"custom": True, "outputs": {"a": 1}}}
    event = parse(line(**{key: {"metadata": metadata}}), 1.5)
    assert isinstance(event, kind)
    assert (event.at_seconds, event.resource, event.operation, event.custom) == (1.5, Urn(URN), "create", True)
    if isinstance(event, Finished):
        assert event.outputs == {"a": 1}


def test_a_deleted_resource_has_only_an_old_state() -> None:
    metadata = {"urn": URN, "op": "delete", "old": {"custom": True}, "new": None}
    event = parse(line(resOutputsEvent={"metadata": metadata}), 0)
    assert isinstance(event, Finished)
    assert event.custom
    assert event.changes


@pytest.mark.parametrize(("operation", "changes"), [("same", False), ("read", False), ("update", True)])
def test_what_counts_as_a_change(operation: str, changes: bool) -> None:
    assert Started(0, Urn(URN), operation).changes is changes


def test_a_diagnostic_loses_its_last_line_end() -> None:
    fields = {"urn": URN, "message": "  one\ntwo\n", "severity": "error"}
    assert parse(line(diagnosticEvent=fields), 0) == Diagnostic(0, Urn(URN), "error", "  one\ntwo", False)


def test_the_summary() -> None:
    event = parse(line(summaryEvent={"resourceChanges": {"same": 3}, "result": "succeeded"}), 0)
    assert event == SummaryEvent(0, {"same": 3}, "succeeded")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON\n",
        "[]",
        "3",
        line(cancelEvent={}),
        line(somethingNew={"a": 1}),
        '{"diagnosticEvent":{"message":"x","severity":"debug"}}',
    ],
)
def test_what_nobody_needs_is_no_event(text: str) -> None:
    assert parse(text, 0) is None
