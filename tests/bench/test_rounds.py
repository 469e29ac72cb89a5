"""What a round does, in which order, and which version should answer after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import tools as bench_tools
from bench.processes import Run
from bench.results import Operation, Size
from bench.tools import BenchServices, Rounds, steps


@dataclass
class Recorder:
    """A tool that only writes down what it is to do; `all_done` is shared by all."""

    name: str
    namespace: str
    all_done: list[tuple[str, str]]
    seconds: float = 1.0

    def clear(self) -> None:
        self.all_done.append((self.name, "clear"))

    def prepare(self, operation: Operation) -> None:
        """Nothing."""

    def do(self, operation: Operation, _service: str, /) -> Run:
        self.all_done.append((self.name, operation))
        return Run(self.seconds)


@dataclass
class Ran:
    rounds: Rounds
    done: list[tuple[str, str]]
    counted: list[tuple[Operation, str]]
    versions: list[dict[str, str]] = field(default_factory=list)


def ran(
    folder: Path, operations: Sequence[Operation], pairs: int, monkeypatch: pytest.MonkeyPatch, *, history: bool = False
) -> Ran:
    monkeypatch.setattr(bench_tools, "PAUSE_SECONDS", 0.0)
    (folder / "services").mkdir()
    workload = BenchServices(folder, Size(2), "run")
    workload.write()
    done: list[tuple[str, str]] = []
    counted: list[tuple[Operation, str]] = []
    tools = [Recorder("a", "of-a", done), Recorder("b", "of-b", done)]
    made = Rounds(workload, tools, operations, lambda operation, tool, _run: counted.append((operation, tool)), print)
    made.run(pairs, history=history)
    return Ran(made, done, counted)


def test_all_operations_come_in_order_and_what_they_need_before_them() -> None:
    everything = tuple(each for each in Operation if each is not Operation.HISTORY)
    assert tuple(steps(tuple(Operation), first=False)) == everything
    assert tuple(steps([Operation.ROLLBACK_ONE], first=False)) == (Operation.ONE, Operation.ROLLBACK_ONE)
    assert tuple(steps([Operation.UNCHANGED], first=True)) == (Operation.INSTALL, Operation.UNCHANGED)


def test_tools_take_turns_and_every_round_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(tmp_path, [Operation.UNCHANGED, Operation.ONE], 3, monkeypatch)
    turns = [tool for tool, what in found.done if what != "clear"]
    assert turns == ["a", "b"] * (len(turns) // 2)
    for operation in (Operation.UNCHANGED, Operation.ONE):
        for tool in ("a", "b"):
            assert found.counted.count((operation, tool)) == 3
    assert (Operation.INSTALL, "a") not in found.counted
    assert ("a", Operation.INSTALL) in found.done


def test_nothing_is_unchanged_right_after_a_rollback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(tmp_path, [Operation.UNCHANGED, Operation.ROLLBACK_ALL], 2, monkeypatch)
    of_a = [what for tool, what in found.done if tool == "a"]
    second = of_a[of_a.index(Operation.ROLLBACK_ALL) + 1 :]
    assert second == [Operation.ALL, Operation.UNCHANGED, Operation.ALL, Operation.ROLLBACK_ALL]
    assert {operation for operation, _ in found.counted} == {Operation.UNCHANGED, Operation.ROLLBACK_ALL}


def test_an_installation_begins_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(tmp_path, [Operation.INSTALL], 2, monkeypatch)
    cleared, installed = [("a", "clear"), ("b", "clear")], [("a", Operation.INSTALL), ("b", Operation.INSTALL)]
    assert found.done == [*cleared, *installed] * 2


def test_a_rollback_is_expected_to_bring_the_version_before_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ran(tmp_path, [Operation.ROLLBACK_ONE], 1, monkeypatch)
    assert found.rounds.live == {"bench-001": "run-1", "bench-002": "run-1"}
    assert found.rounds.workload.text("bench-001") == "run-2"


def test_the_history_comes_last_as_often_as_there_are_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(tmp_path, [Operation.ONE, Operation.HISTORY], 2, monkeypatch, history=True)
    assert [what for tool, what in found.done if tool == "b"][-2:] == [Operation.HISTORY] * 2
    assert found.counted.count((Operation.HISTORY, "a")) == 2
