"""What `slipway rollback` asks and refuses before it changes anything: real engine, real policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab

QUESTION = b"Roll dev back to #1? [y/N]: "
# A component of that type is judged as the object is, and needs no cluster.
UNLABELLED = """\
import pulumi
inputs = {"metadata": {"name": "NAME"}, "value": 1}
pulumi.ComponentResource("kubernetes:scheduling.k8s.io/v1:PriorityClass", "NAME", inputs)
"""
REASON = ("--break-glass", "the harbour burns")


@pytest.fixture
def project(scratch_after: Any) -> Any:
    """Its only update made a PriorityClass without labels, which is gone by now, and the program makes it still."""
    scratch = scratch_after("preview", "-s", "dev")  # which makes the stacks
    scratch.program(UNLABELLED)
    folder = backend(scratch) / "history" / "scratch" / "dev"
    folder.mkdir(parents=True)
    urn = f"urn:pulumi:dev::scratch::kubernetes:scheduling.k8s.io/v1:PriorityClass::{scratch.unique}"
    recorded = {
        "urn": urn,
        "type": "kubernetes:scheduling.k8s.io/v1:PriorityClass",
        "custom": True,
        "id": scratch.unique,
        "inputs": {"metadata": {"name": scratch.unique}, "value": 1},
    }
    record(folder / "dev-1900000000000000000", [recorded])
    return scratch


def backend(project: Any) -> Path:
    return Path(project.home, "first", "backend", ".pulumi")


def record(name: Path, resources: list[dict[str, Any]]) -> None:
    info = {"kind": "update", "startTime": 1, "endTime": 2, "result": "succeeded", "message": ""}
    state = {"version": 3, "checkpoint": {"latest": {"resources": resources}}}
    name.with_name(f"{name.name}.history.json").write_text(json.dumps(info))
    name.with_name(f"{name.name}.checkpoint.json").write_text(json.dumps(state))


def updates(project: Any) -> int:
    return len(list(backend(project).rglob("*.history.json")))


def test_a_reason_needs_approval_and_is_not_refused_by_what_it_overrides(project: Any) -> None:
    code, screen = project.on_terminal(QUESTION, lambda: b"n\n", "rollback", "-s", "dev", "--to", "1", *REASON)
    assert "Today's policies are overridden: the harbour burns" in screen
    assert "required-labels" in screen
    assert QUESTION.decode() in screen, screen
    assert "dev was not rolled back: you answered no." in screen
    assert code == 1
    assert updates(project) == 1


@pytest.mark.thorough  # it is what is shown before the question above
def test_a_preview_with_a_reason_is_one_that_would_be_carried_out(project: Any) -> None:
    result = project("rollback", "-s", "dev", "--to", "1", "--preview", *REASON)
    assert result.returncode == 0, result.stderr
    assert "required-labels" in result.stdout


def test_without_a_reason_the_policies_refuse(project: Any) -> None:
    result = project("rollback", "-s", "dev", "--to", "1", "--preview")
    assert result.returncode == 3, result.stderr
    assert "--break-glass" in result.stderr


def test_an_update_by_somebody_else_stops_the_one_that_was_prepared_before(project: Any) -> None:
    def answer() -> bytes:
        record(backend(project) / "history" / "scratch" / "dev" / "dev-1900000000000000001", [])
        return b"y\n"

    code, screen = project.on_terminal(QUESTION, answer, "rollback", "-s", "dev", "--to", "1", *REASON)
    assert code == 1, screen
    assert "dev was not rolled back: it has changed since the rollback was prepared." in screen
    assert "Its last update was #1, now it is #2." in screen
    assert updates(project) == 2


def test_a_stack_that_never_was_is_not_made_for_a_rollback(scratch: Any) -> None:
    """PULUMI_BACKEND_URL may name another backend than the one that is meant."""
    before = {file: file.read_text() for file in scratch.folder.glob("Pulumi.*")}
    for flag in ("--yes", "--preview"):
        result = scratch("rollback", "-s", "dev", flag)
        assert result.returncode == 2, result.stderr
        assert "Stack dev has no history: it was never updated." in result.stderr
    assert not list(backend(scratch).rglob("*.json"))
    assert {file: file.read_text() for file in scratch.folder.glob("Pulumi.*")} == before
