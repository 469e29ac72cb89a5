"""What is on the screen while an update runs; when a preview is taken to hang, and when it is only at work."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from slipway.deploy.display import POLICY_TIMEOUT_VARIABLE, PolicyPackTimeout, UpdateDisplay
from slipway.engine.events import Diagnostic, Event, Failed, Finished, Started, Urn
from slipway.errors import ConfigurationError
from slipway.progress import Progress

Recorded = Callable[[str], list[Event]]
POD = Urn("urn:pulumi:dev::slipway::kubernetes:core/v1:Pod::a")


def shown(events: list[Event], *, terminal: bool = False, interrupted: bool = True) -> list[str]:
    """The lines on the screen after all of `events`, without times."""
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=terminal, color_system=None, highlight=False)
    progress = Progress(console)
    with progress.step("Update dev") as whole:
        display = UpdateDisplay(progress, whole)
        for event in events:
            display.show(event)
        display.close(interrupted=interrupted)
    return re.sub(r"\d+\.\d s", "N s", screen.getvalue()).splitlines()


def test_each_change_has_a_line_when_it_begins_and_one_when_it_ends(recorded: Recorded) -> None:
    lines = shown(recorded("one_service_changed"))
    resources = ["Image user-service-test", "Image user-service", "Deployment user-service"]
    updates = [line for line in lines if line.startswith("Update ") and "dev" not in line]
    assert updates == [f"Update {name}{end}" for name in resources for end in (" ...", ": done in N s")]


def test_the_steps_of_a_build_that_run_are_told(recorded: Recorded) -> None:
    lines = [line for line in shown(recorded("one_service_changed")) if line.startswith("user-service-test: ")]
    assert lines[-2:] == [
        "user-service-test: [test 3/4] COPY . ./",
        "user-service-test: [test 4/4] RUN /opt/venv/bin/python -m pytest -p no:cacheprovider || "
        "{ status=$?; sleep 1; exit $st…",
    ]
    assert not [line for line in lines if "pip install" in line]  # it came from the cache


def test_an_update_without_changes_is_one_line_long(recorded: Recorded) -> None:
    assert shown(recorded("nothing_changed")) == ["Update dev ...", "Update dev: done in N s"]


def test_a_failure_is_marked_where_it_happened(recorded: Recorded) -> None:
    assert "Update Image user-service-test: failed after N s" in shown(recorded("failing_unit_test"))


def test_what_was_interrupted_is_not_called_done() -> None:
    lines = shown([Started(0, POD, "create", custom=True)])
    assert lines[1:3] == ["Create Pod a ...", "Create Pod a: interrupted after N s"]


@pytest.mark.parametrize("severity", ["info", "warning", "info#err"])
def test_what_the_program_says_is_shown_with_the_resource_it_is_about(severity: str) -> None:
    lines = shown([Diagnostic(0, POD, severity, "look [here]"), Diagnostic(0, None, severity, "and here")])
    assert lines[1:3] == ["Pod a: look [here]", "and here"]


def test_errors_are_left_for_the_end_and_noise_for_nobody() -> None:
    said = [
        Diagnostic(0, POD, "error", "no"),
        Diagnostic(0, None, "warning", "using pulumi-language-python from $PATH"),
    ]
    assert len(shown(list(said))) == 2


def test_on_a_terminal_finished_work_stays_and_running_work_is_drawn_anew(recorded: Recorded) -> None:
    lines = shown(recorded("one_service_changed"), terminal=True)
    finished = [line.split("✓ ")[-1] for line in lines if "✓ Update" in line]
    assert finished[-1].startswith("Update dev")
    assert finished[0].startswith("Update Image user-service-test")


def test_a_build_that_fails_in_a_preview_is_not_called_interrupted() -> None:
    """The engine says no end of it."""
    lines = shown([Started(0, POD, "create", custom=True)], interrupted=False)
    assert lines[2] == "Create Pod a: failed after N s"


IMAGE = Urn("urn:pulumi:dev::slipway::docker-build:index:Image::a")
STACK = Urn("urn:pulumi:dev::slipway::pulumi:pulumi:Stack::slipway-dev")
PACK = Path("policy")


@pytest.fixture
def watch() -> PolicyPackTimeout:
    return PolicyPackTimeout(PACK, loading_seconds=10, silence_seconds=20)


@pytest.fixture
def loaded(watch: PolicyPackTimeout) -> PolicyPackTimeout:
    watch.take('{"policyLoadEvent":{}}', None, 1)
    watch.take('{"preludeEvent":{}}', None, 2)
    return watch


def test_an_engine_that_has_not_come_to_the_pack_is_not_its_fault(watch: PolicyPackTimeout) -> None:
    assert watch.overdue(1000) == ""


def test_a_pack_that_does_not_load(watch: PolicyPackTimeout) -> None:
    watch.take('{"policyLoadEvent":{}}', None, 1)
    assert watch.overdue(10.9) == ""
    assert watch.overdue(11.1) == "the policy pack policy did not load in 10 s"


def test_silence_once_the_program_runs(loaded: PolicyPackTimeout) -> None:
    loaded.take("", Started(2, STACK, "same"), 2)
    loaded.take("", Finished(3, IMAGE, "same"), 3)
    assert loaded.overdue(22.9) == ""
    assert "policy sent no message after Image a for 20 s" in loaded.overdue(23.1)


def test_a_build_may_be_silent_for_as_long_as_it_wants(loaded: PolicyPackTimeout) -> None:
    loaded.take("", Started(3, IMAGE, "update"), 3)
    assert loaded.overdue(10_000) == ""
    loaded.take("", Failed(10_000, IMAGE, "update"), 10_000)
    assert loaded.overdue(10_019) == ""
    assert loaded.overdue(10_021)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_deadline_that_cannot_be_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match=POLICY_TIMEOUT_VARIABLE):
        PolicyPackTimeout.of({POLICY_TIMEOUT_VARIABLE: text}, PACK)


def test_the_users_deadline_is_taken() -> None:
    watch = PolicyPackTimeout.of({POLICY_TIMEOUT_VARIABLE: "2.5"}, PACK)
    assert (watch.loading_seconds, watch.silence_seconds) == (2.5, 2.5)
    assert PolicyPackTimeout.of({}, PACK).loading_seconds > 2.5


def test_an_update_may_be_silent_once_a_resource_was_under_way() -> None:
    """While it asks its checks, for one."""
    watch = PolicyPackTimeout.of_update({POLICY_TIMEOUT_VARIABLE: "10"}, PACK)
    watch.take('{"policyLoadEvent":{}}', None, 1)
    assert "did not load" in watch.overdue(11.1)
    watch.take('{"preludeEvent":{}}', None, 2)
    watch.take("", Started(3, STACK, "same"), 3)
    assert "sent no message" in watch.overdue(13.1)
    watch.take("", Started(4, IMAGE, "same"), 4)
    watch.take("", Finished(5, IMAGE, "same"), 5)
    assert watch.overdue(10_000) == ""
