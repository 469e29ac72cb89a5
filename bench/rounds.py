"""Rounds of all operations at one size; the tools take turns at each operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.choice import TITLES, Operation
from bench.processes import Run
from bench.tools import BenchServices, Tool

# Time for the cluster's controllers to finish work for the run before.
PAUSE_SECONDS = 1.0
# A round runs each of these once; an operation that is not chosen runs too if another one needs it.
ROUND = tuple(each for each in Operation if each is not Operation.HISTORY)
NEEDS = {Operation.ROLLBACK_ONE: Operation.ONE, Operation.ROLLBACK_ALL: Operation.ALL}
CHANGING = (Operation.ONE, Operation.ALL)
ROLLBACKS = tuple(NEEDS)

Timed = Callable[[Operation, str, Run], None]
"""Called for each run that counts, with its operation and tool."""


@dataclass
class Rounds:
    """The tools begin with nothing installed; `live` has the version that each service should answer with."""

    workload: BenchServices
    tools: Sequence[Tool]
    operations: Sequence[Operation]
    on_run: Timed
    say: Callable[[str], None]
    live: dict[str, str] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict)
    _settled: bool = False

    def run(self, pairs: int, *, history: bool) -> None:
        """Run `pairs` rounds, then `pairs` times the history if that is chosen."""
        for number in range(1, pairs + 1):
            self.say(f"  round {number} of {pairs}")
            for operation in steps(self.operations, first=number == 1):
                self._step(operation)
        if history and Operation.HISTORY in self.operations:
            for _ in range(pairs):
                self._step(Operation.HISTORY)

    def _step(self, operation: Operation) -> None:
        if operation is Operation.INSTALL:
            for tool in self.tools:
                tool.clear()
            if self.live:
                self.workload.change()
        elif operation in (Operation.UNCHANGED, Operation.BARE, Operation.GATE, Operation.ONE) and not self._settled:
            # After a rollback the files on disk are newer than the deployment.
            self._each(Operation.ALL, counts=False)
        if operation in CHANGING:
            self.workload.change(*([self._service] if operation is Operation.ONE else []))
        self._each(operation, counts=operation in self.operations)

    @property
    def _service(self) -> str:
        """The service that is changed and rolled back alone."""
        return self.workload.names[0]

    def _each(self, operation: Operation, *, counts: bool) -> None:
        """Run all tools, one after the other."""
        self._settled = operation not in ROLLBACKS
        if operation in ROLLBACKS:
            self.live, self._before = self._before, self.live
        elif operation in (*CHANGING, Operation.INSTALL):
            self._before, self.live = self.live, {name: self.workload.text(name) for name in self.workload.names}
        for tool in self.tools:
            tool.prepare(operation)
            time.sleep(PAUSE_SECONDS)
            run = tool.do(operation, self._service)
            if counts:
                self.on_run(operation, tool.name, run)
            self.say(f"    {TITLES[operation]}: {tool.name} {run.seconds:.1f} s{'' if counts else ' (does not count)'}")


def steps(operations: Sequence[Operation], *, first: bool) -> Iterator[Operation]:
    """The operations of a round, in order: the chosen ones, others that they need, and in the first an installation."""
    chosen = {*operations, *(NEEDS[each] for each in operations if each in NEEDS)}
    if first:
        chosen.add(Operation.INSTALL)
    return (each for each in ROUND if each in chosen)
