"""How long each stage took, from the events of updates that once ran, and the steps of their image builds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine.events import Event, Finished, Started, Urn
from slipway.engine.stages import BuildLog, Stage, covered_seconds, stage_times, without_marks

Recorded = Callable[[str], list[Event]]
RECORDED = Path(__file__).parents[1] / "recorded"
DURATION = re.compile(r"(?:\d+ min )?\d+(?:\.\d)? s")
STACK = Urn("urn:pulumi:dev::slipway::pulumi:pulumi:Stack::slipway-dev")
POD = Urn("urn:pulumi:dev::slipway::kubernetes:core/v1:Pod::a")


def lines(recorded: Recorded, name: str) -> list[str]:
    """The times of a recorded update without their numbers, which test_the_times_are_those_that_were_read compares."""
    return [DURATION.sub("N s", line) for line in stage_times(recorded(name)).lines()]


def test_a_first_update_goes_through_every_stage(recorded: Recorded) -> None:
    assert lines(recorded, "first_update") == [
        "B  get N s · compile N s · test N s · package N s",
        "D  select N s · push N s · launch N s · monitor N s (2 checks met)",
    ]


def test_an_update_without_changes_says_so(recorded: Recorded) -> None:
    assert lines(recorded, "nothing_changed") == [
        "B  nothing changed: get · compile · test · package",
        "D  select N s · push nothing new · launch nothing changed · monitor N s (2 checks met)",
    ]


def test_what_came_from_the_cache_took_no_time(recorded: Recorded) -> None:
    assert lines(recorded, "one_service_changed") == [
        "B  get N s · compile cached · test N s · package N s",
        "D  select N s · push N s · launch N s · monitor N s (2 checks met)",
    ]


@pytest.mark.parametrize("name", ["first_update", "nothing_changed", "one_service_changed"])
def test_the_times_are_those_that_were_read(recorded: Recorded, name: str) -> None:
    """Made by `make record`, and read by a person before it was committed."""
    assert stage_times(recorded(name)).lines() == (RECORDED / f"{name}.txt").read_text().splitlines()


def test_the_build_stages_fit_into_the_builds(recorded: Recorded) -> None:
    events = recorded("first_update")
    times = stage_times(events)
    total = sum(stage.seconds or 0 for stage in (*times.build, *times.deploy))
    assert max(event.at_seconds for event in events) <= total + 1  # nothing of the update is unaccounted for


def test_an_empty_stream_has_no_times_and_does_not_fail() -> None:
    assert stage_times([]).lines()[0] == "B  nothing changed: get · compile · test · package"


def test_monitoring_lasts_from_the_last_resource_to_the_outputs_of_the_stack() -> None:
    events: list[Event] = [
        Started(1, STACK, "same"),
        Started(1.5, POD, "create", custom=True),
        Finished(4, POD, "create", custom=True),
        Finished(6.5, STACK, "same", outputs={"checks": 1}),
    ]
    times = stage_times(events)
    assert times.deploy[0] == Stage("select", 1.5)
    assert times.deploy[2] == Stage("launch", 2.5)
    assert times.deploy[3] == Stage("monitor", 2.5, "1 check met")


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (Stage("test", 3.14), "test 3.1 s"),
        (Stage("test", 125.9), "test 2 min 05 s"),
        (Stage("test", 0.3, "2 checks met"), "test 0.3 s (2 checks met)"),
        (Stage("test", None, "cached"), "test cached"),
        (Stage("test", None), "test nothing to do"),
    ],
)
def test_how_a_stage_reads(stage: Stage, text: str) -> None:
    assert str(stage) == text


INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple))


@given(INTERVALS)
def test_covered_time_is_the_number_of_covered_seconds(intervals: list[tuple[int, int]]) -> None:
    covered = {second for began, ended in intervals for second in range(began, ended)}
    assert covered_seconds(intervals) == len(covered)


def read(*lines: str) -> BuildLog:
    log = BuildLog()
    for at_seconds, line in enumerate(lines):
        log.add(line, float(at_seconds))
    return log


def test_a_step_lasted_as_long_as_its_end_says() -> None:
    step = read("#7 [build 4/5] RUN make", "#7 0.051 compiling", "#7 0.9 compiled", "#7 DONE 1.3s").steps["7"]
    assert (step.stage, step.instruction) == ("build", "RUN make")
    assert step.ended_seconds == 3.0
    assert step.began_seconds == 3.0 - 1.3
    assert step.output == ["compiling", "compiled"]


def test_steps_that_run_side_by_side_are_distinguished() -> None:
    log = read(
        "#1 [a 1/1] RUN x", "#1 0.1 of x", "#1 ...", "", "#2 [b 1/1] RUN y", "#2 0.1 of y", "#2 ...", "",
        "#1 [a 1/1] RUN x", "#1 0.2 more of x", "#1 DONE 0.3s",
    )  # fmt: skip
    assert log.steps["1"].output == ["of x", "more of x"]
    assert log.steps["2"].output == ["of y"]


def test_a_platform_may_stand_before_the_stage() -> None:
    step = read("#7 [linux/amd64 test  2/13] RUN pytest").steps["7"]
    assert (step.stage, step.instruction) == ("test", "RUN pytest")


def test_buildkits_own_steps_belong_to_no_stage() -> None:
    assert read("#1 [internal] load build context").steps["1"].stage == ""


def test_a_cached_step_did_not_run() -> None:
    log = BuildLog()
    assert log.add("#6 [build 3/5] COPY a b", 0) is None
    assert log.add("#6 CACHED", 0) is None
    assert log.steps["6"].cached


def test_a_step_is_reported_once_and_only_when_it_runs() -> None:
    log = BuildLog()
    assert log.add("#6 [build 3/5] RUN make", 0) is None
    assert log.add("#6 0.1 compiling", 1) is log.steps["6"]
    assert log.add("#6 0.2 compiled", 2) is None
    assert log.add("#6 DONE 2.0s", 3) is None


def test_output_keeps_its_indentation_and_empty_lines() -> None:
    step = read("#9 [test 1/1] RUN pytest", "#9 0.5     assert 1 == 2", "#9 0.5 ", "#9 0.5 1.5 seconds").steps["9"]
    assert step.output == ["    assert 1 == 2", "", "1.5 seconds"]


def test_the_failed_step_is_the_one_with_the_error() -> None:
    log = read(
        "#8 [build 1/2] RUN make", "#8 0.1 working",
        "#9 [test 1/1] RUN pytest", "#9 0.5 E assert", "#9 ERROR: process did not complete successfully: exit code: 1",
        "------", " > [test 1/1] RUN pytest:", "0.5 E assert", "------",
    )  # fmt: skip
    failed = log.failed_step()
    assert failed is log.steps["9"]
    assert failed.output == ["E assert"]


def test_without_the_error_it_is_the_last_one_that_never_ended() -> None:
    log = read("#8 [build 1/2] RUN make", "#8 0.1 a", "#8 DONE 1.0s", "#9 [test 1/1] RUN pytest", "#9 0.5 E assert")
    assert log.failed_step() is log.steps["9"]


def test_a_build_that_did_not_fail_has_no_failed_step() -> None:
    assert read("#8 [build 1/2] RUN make", "#8 0.1 a", "#8 DONE 1.0s").failed_step() is None


def test_a_long_instruction_gets_a_headline_on_one_line() -> None:
    step = read("#8 [build 1/2] RUN pip install     --no-deps " + "a-package " * 20).steps["8"]
    assert len(step.headline) <= 100
    assert step.headline.startswith("[build 1/2] RUN pip install --no-deps a-package")
    assert step.headline.endswith("…")


def test_marks_are_taken_off() -> None:
    assert without_marks("#13 6.900 tests/test_a.py .... [ 20%]") == "tests/test_a.py .... [ 20%]"
    assert without_marks("#13 [test 4/4] RUN pytest") == "[test 4/4] RUN pytest"
    assert without_marks("Waiting for the rollout") == "Waiting for the rollout"
