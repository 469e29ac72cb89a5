"""How long each stage took, from the events of updates that once ran."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine.events import Event, Finished, Started, Urn
from slipway.engine.stages import Stage, covered_seconds, stage_times

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
