"""Medians and spreads, and the file that has every run."""

from __future__ import annotations

import pytest

from bench.processes import Run
from bench.results import Measurement, Operation, Results, Size, from_json, load, to_json

SMALL = Size(2)
MACHINE = {"cores": "2", "memory": "24 GiB"}


def measurement(
    size: Size = SMALL,
    operation: Operation = Operation.ONE,
    seconds: tuple[float, ...] = (3.0, 1.0, 2.0),
    commit: str = "a",
) -> Measurement:
    slipway = tuple(Run(each, {"engine": each / 2, "program": 1.0}) for each in seconds)
    helm = tuple(Run(each / 2, {"helm": 0.1}) for each in seconds)
    return Measurement(size, operation, commit, "2026-11-28", 0.3, {"slipway": slipway, "helm": helm})


def test_a_median_is_of_the_runs_and_a_ratio_of_the_medians() -> None:
    found = measurement(seconds=(1.0, 9.0, 2.0))
    assert found.median("slipway") == 2.0
    assert found.ratio("slipway", "helm") == pytest.approx(2.0)
    assert found.seconds("helm") == [0.5, 4.5, 1.0]


def test_processor_time_is_the_median_of_each_kind_the_largest_first() -> None:
    assert measurement(seconds=(4.0, 6.0, 8.0)).cpu_seconds("slipway") == {"engine": 3.0, "program": 1.0}


def test_a_kind_that_most_runs_do_not_have_counts_as_zero() -> None:
    runs = (Run(1.0, {"git": 5.0}), Run(1.0, {"engine": 1.0}), Run(1.0, {"engine": 2.0}))
    found = Measurement(Size(2), Operation.ONE, "a", "2026-11-28", 0.3, {"slipway": runs})
    assert found.cpu_seconds("slipway") == {"engine": 1.0}


def test_the_file_is_read_as_it_was_written() -> None:
    real = measurement(Size(5, real=True), Operation.ROLLBACK_ALL)
    results = Results(MACHINE, (measurement(), real))
    assert from_json(to_json(results)) == results
    assert from_json(to_json(Results())) == Results()


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 99"):
        from_json(to_json(Results()).replace('"format": 1', '"format": 99'))


def test_what_is_measured_anew_takes_the_place_of_the_same() -> None:
    old = Results(MACHINE, (measurement(Size(50)), measurement(operation=Operation.UNCHANGED), measurement()))
    merged = old.merged(MACHINE, [measurement(commit="b"), measurement(Size(5, real=True), commit="b")])
    assert [(str(each.size), each.operation, each.commit) for each in merged.measurements] == [
        ("2", Operation.UNCHANGED, "a"),
        ("2", Operation.ONE, "b"),
        ("50", Operation.ONE, "a"),
        ("5 real", Operation.ONE, "b"),
    ]
    assert merged.sizes() == [Size(2), Size(50), Size(5, real=True)]


def test_results_of_another_machine_are_not_mixed() -> None:
    merged = Results(MACHINE, (measurement(Size(50)),)).merged({"cores": "8"}, [measurement()])
    assert [str(each.size) for each in merged.measurements] == ["2"]
    assert merged.machine == {"cores": "8"}


def test_what_is_committed_can_be_read_and_every_tool_has_as_many_runs() -> None:
    for each in load().measurements:
        assert len({len(runs) for runs in each.runs.values()}) == 1
        assert set(each.runs) == {"slipway", "helm", "helm qps 500"}
