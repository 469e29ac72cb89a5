"""How long each stage took, from the events of updates that once ran."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine.events import Event, Finished, Resource, Started
from slipway.engine.stages import Stage, covered_seconds, stage_times

Recorded = Callable[[str], list[Event]]
STACK = Resource("urn:pulumi:dev::slipway::pulumi:pulumi:Stack::slipway-dev")
POD = Resource("urn:pulumi:dev::slipway::kubernetes:core/v1:Pod::a")


def test_a_first_update_goes_through_every_stage(recorded: Recorded) -> None:
    assert stage_times(recorded("first_update")).lines() == [
        "B  get 0.0 s · compile 16.0 s · test 46.4 s · package 6.3 s",
        "D  select 1.9 s · push 0.3 s · launch 7.8 s · monitor 0.2 s (2 checks met)",
    ]


def test_an_update_without_changes_says_so(recorded: Recorded) -> None:
    assert stage_times(recorded("nothing_changed")).lines() == [
        "B  nothing changed: get · compile · test · package",
        "D  select 1.8 s · push nothing new · launch nothing changed · monitor 0.1 s (2 checks met)",
    ]


def test_what_came_from_the_cache_took_no_time(recorded: Recorded) -> None:
    assert stage_times(recorded("one_service_changed")).lines() == [
        "B  get 0.0 s · compile cached · test 24.9 s · package 0.2 s",
        "D  select 3.3 s · push 0.1 s · launch 3.3 s · monitor 0.2 s (2 checks met)",
    ]


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
