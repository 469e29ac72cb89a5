"""The engine's recorded words become the right summary, also when it stops in the middle of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from slipway.deploy.preview_events import PreviewEvents
from slipway.deploy.summary import PreviewResult
from slipway.masking import SECRET, UNKNOWN
from slipway.render.json_summary import to_json
from slipway.render.markdown import render
from slipway.state.difference import Operation
from tests.slipway.render import reading

SMALL_AND_LARGE = (
    "first", "unchanged", "env", "small", "refused", "failing", "removed", "removed_refused", "drift", "fifty", "huge"
)  # fmt: skip


def names(changes: Any) -> list[str]:
    return [str(change.resource) for change in changes]


def test_a_first_update_creates_everything(summarized: Any) -> None:
    summary = summarized("first")
    assert summary.result is PreviewResult.SUCCEEDED
    assert set(summary.counts()) == {Operation.CREATE}
    assert "Deployment user-service" in names(summary.changes)
    assert not any(change.resource.type.startswith(("pulumi:", "slipway:")) for change in summary.changes)
    assert summary.tested == ("order-service", "user-service")


@pytest.mark.parametrize(
    ("label", "built", "tested"),
    [("stage test", True, True), ("stage test", False, False), ("none", True, False)],
)
def test_the_unit_tests_may_be_in_the_build_of_the_image(
    lines: Callable[[str], list[tuple[float, str]]], *, label: str, built: bool, tested: bool
) -> None:
    read, skipped = PreviewEvents(), "Skipping preview build because some inputs are unknown"
    for at_seconds, line in lines("first"):
        event = json.loads(line)
        image = event.get("resourcePreEvent", {}).get("metadata", {})
        if image.get("urn", "").endswith("Image::user-service"):
            image["new"]["inputs"]["labels"] = {"slipway.dev/unit-tests": label}
        if "Image::user-service-test" not in line and not (built and skipped in line):
            read.take(json.dumps(event), at_seconds)
    assert ("user-service" in read.summary("slipway", "dev").tested) is tested


def test_nothing_changed(summarized: Any) -> None:
    summary = summarized("unchanged")
    assert (summary.result, summary.changes, summary.images) == (PreviewResult.SUCCEEDED, (), ())
    assert summary.unchanged == 28
    assert summary.rules == 3


def test_a_small_change(summarized: Any) -> None:
    summary = summarized("small")
    assert summary.result is PreviewResult.SUCCEEDED
    assert names(summary.of(Operation.REPLACE)) == ["ConfigMap order-service-093f49bc", "Secret order-service-49bb2091"]
    assert names(summary.of(Operation.UPDATE)) == ["Deployment order-service", "Deployment user-service"]
    assert not any(change.deleted_first for change in summary.changes)
    (image,) = summary.images
    assert (image.service, image.new) == ("user-service", UNKNOWN)
    assert len(image.new_tag) == 16


def test_the_fields_of_a_small_change(summarized: Any) -> None:
    config_map = summarized("small").of(Operation.REPLACE)[0]
    fields = {field.path: (field.old, field.new, field.replaces) for field in config_map.fields}
    assert fields["data.LOG_LEVEL"] == ("info", "debug", True)
    assert fields["data.FEATURES"] == (None, "a|b", True)


def test_what_a_failing_test_prints_shows_no_secret(lines: Callable[[str], list[tuple[float, str]]]) -> None:
    """Comments on pull requests have more readers than the log of a run."""
    read = PreviewEvents()
    for at_seconds, line in lines("failing"):
        read.take(line.replace("test_hostile", "test_hostile postgres://shop:hunter2@db password=hunter2"), at_seconds)
    summary = read.summary("slipway", "dev")
    shown = f"{to_json(summary)}{render(summary)}{reading.plain(summary)}"
    assert shown.count("hunter2") == 0
    assert f"postgres://shop:{SECRET}@db password={SECRET}" in to_json(summary)


@pytest.mark.parametrize(("kind", "key"), [("policyEvent", "policyName"), ("diagnosticEvent", "urn")])
@pytest.mark.parametrize("severity", ["error", "warning"])
def test_what_is_said_shows_no_secret(kind: str, key: str, severity: str) -> None:
    said = {"message": "cannot open postgres://shop:hunter2@db", "severity": severity, "enforcementLevel": "mandatory"}
    read = PreviewEvents()
    read.take(json.dumps({"sequence": 1, kind: {key: "", **said}}), 0.0)
    text = to_json(read.summary("slipway", "dev"))
    assert f"cannot open postgres://shop:{SECRET}@db" in text
    assert "hunter2" not in text


def test_a_property_called_severity_hides_no_change(lines: Callable[[str], list[tuple[float, str]]]) -> None:
    read = PreviewEvents()
    for at_seconds, line in lines("small"):
        read.take(line.replace('"LOG_LEVEL"', '"severity"'), at_seconds)
    config_map = read.summary("slipway", "dev").of(Operation.REPLACE)[0]
    fields = {field.path: (field.old, field.new) for field in config_map.fields}
    assert fields["data.severity"] == ("info", "debug")


def test_secrets_stay_secret(summarized: Any) -> None:
    summary = summarized("small")
    secret = summary.of(Operation.REPLACE)[1]
    assert {field.path: field.new for field in secret.fields}["data"] == SECRET, "it says that something of it changes"
    assert "sqlite" not in str(summary)


def test_a_mandatory_policy_refuses(summarized: Any) -> None:
    summary = summarized("refused")
    assert summary.result is PreviewResult.REFUSED
    assert summary.problems == ()
    (refusal,) = summary.refusals()
    assert (refusal.rule, str(refusal.resource)) == ("memory-limit", "Deployment user-service")
    assert {violation.rule for violation in summary.advice()} == {"liveness-differs"}


def test_a_failing_unit_test_is_told_with_its_output(summarized: Any) -> None:
    summary = summarized("failing")
    assert summary.result is PreviewResult.FAILED
    (problem,) = summary.problems
    assert problem.service == "user-service"
    assert problem.message == "The unit tests stopped with exit code 1."
    assert problem.step.startswith("RUN")
    assert any("FAILED tests/test_users.py::test_hostile" in line for line in problem.output)
    assert "user-service" not in summary.tested


def test_a_removed_service_keeps_its_images(summarized: Any) -> None:
    deleted = summarized("removed").of(Operation.DELETE)
    assert {change.resource.kind for change in deleted if change.kept} == {"Image"}
    assert {change.service for change in deleted} == {"order-service"}
    assert summarized("removed").counts()[Operation.DELETE] == 7


def test_drift_is_what_somebody_else_did(summarized: Any) -> None:
    drift = summarized("drift").drift
    fields = {(str(change.resource), field.path): (field.old, field.new) for change in drift for field in change.fields}
    assert fields["Deployment user-service", "spec.replicas"] == ("1", "3")
    assert "Service order-service" in [str(change.resource) for change in drift if change.operation is Operation.DELETE]


def test_drift_that_was_not_asked_is_not_told(summarized: Any) -> None:
    assert summarized("small").drift is None


@pytest.mark.slow
def test_a_huge_change(summarized: Any) -> None:
    summary = summarized("huge")
    assert summary.result is PreviewResult.REFUSED
    counts = summary.counts()
    assert counts[Operation.UPDATE] >= 280
    assert counts[Operation.CREATE] == 30 * 6
    assert [str(change.resource) for change in summary.changes if change.loses_data] == ["PersistentVolumeClaim orders"]
    assert len(summary.refusals()) == 31
    assert len(summary.images) == 280


@pytest.mark.parametrize("name", SMALL_AND_LARGE[:-1])
def test_a_preview_may_break_off_anywhere(name: str, recorded: Any, lines: Callable[[str], list[Any]]) -> None:
    events = recorded(name, 0)
    for until, (at_seconds, line) in enumerate(lines(name)):
        if until % 7 == 0:
            summary = events.summary("slipway", "dev")
            assert summary.result is not PreviewResult.SUCCEEDED or until > len(lines(name)) - 10
            assert render(summary).startswith("<!-- slipway:preview:slipway:dev -->\n")
        events.take(line, at_seconds)


@pytest.mark.parametrize("line", ["", "{", "[]", "null", "1", '"text"', "panic: in a plugin", '{"resourcePreEvent'])
def test_lines_that_are_no_events_are_passed_over(line: str, recorded: Any) -> None:
    events = recorded("small", 0)
    assert events.take(line, 0.0) is None
    assert events.summary("slipway", "dev").changes == ()


@pytest.mark.parametrize("name", SMALL_AND_LARGE)
def test_recordings_name_no_machine(name: str, lines: Callable[[str], list[Any]]) -> None:
    text = "".join(line for _, line in lines(name))
    assert "/root" not in text
    assert "/home/" not in text
