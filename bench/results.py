"""What is run, at which sizes and how often, and the results: every timed run and the machine, in one JSON file."""

from __future__ import annotations

import difflib
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from bench.helm import HELM_PART
from bench.processes import Run
from lab.toolchain.go import memory_gib
from lab.toolchain.layout import bin_folder, is_launcher
from lab.toolchain.parts import BUILDKIT, DOCKER_BUILD, KUBERNETES, KUBERNETES_PROVIDER, LANGUAGE_HOST, PULUMI
from slipway.errors import ConfigurationError

REAL = "real"
REAL_SERVICES = 5
# The lab's services get addresses of one /16, and a run of this many takes hours.
MAX_SERVICES = 500
MIN_PAIRS = 1
DEFAULT_SIZES = "2 10 50 200 real"
DEFAULT_PAIRS = 5
FILE = Path(__file__).with_name("results.json")
FORMAT = 1


class Operation(StrEnum):
    """The timed operations, in the order of a round: each leaves the state that the next one needs. HISTORY comes last,
    once, after all rounds.
    """

    INSTALL = "install"
    UNCHANGED = "unchanged"
    BARE = "bare"
    GATE = "gate"
    ONE = "one"
    ROLLBACK_ONE = "rollback-one"
    ALL = "all"
    ROLLBACK_ALL = "rollback-all"
    HISTORY = "history"


TITLES = {
    Operation.INSTALL: "first install",
    Operation.UNCHANGED: "nothing changed",
    Operation.BARE: "nothing changed, `pulumi up`",
    Operation.GATE: "gate alone",
    Operation.ONE: "one service changed",
    Operation.ROLLBACK_ONE: "rollback of one",
    Operation.ALL: "all changed",
    Operation.ROLLBACK_ALL: "rollback of all",
    Operation.HISTORY: "history of 1,000 updates",
}


@dataclass(frozen=True)
class Size:
    """How many services; `real` ones run a pod each and answer, others have no replicas."""

    services: int
    real: bool = False

    def __str__(self) -> str:
        return f"{self.services} {REAL}" if self.real else str(self.services)

    @classmethod
    def parse(cls, text: str) -> Size:
        """Parse the text of `str`."""
        number, _, kind = text.partition(" ")
        return cls(int(number), kind == REAL)


@dataclass(frozen=True)
class Choice:
    """One run: every size with every operation, `pairs` times."""

    sizes: tuple[Size, ...]
    operations: tuple[Operation, ...]
    pairs: int


def parse(sizes: str, operations: str, pairs: str) -> Choice:
    """Parse the three variables. Raises ConfigurationError, which names the allowed values, if one is invalid."""
    chosen = tuple(dict.fromkeys(_size(word) for word in (sizes or DEFAULT_SIZES).split()))
    named = {_operation(word) for word in operations.split()} or set(Operation)
    pairs = pairs or str(DEFAULT_PAIRS)
    if not _is_number(pairs) or int(pairs) < MIN_PAIRS:
        raise ConfigurationError(
            f"PAIRS is {pairs!r}.",
            why=f"Allowed are numbers from {MIN_PAIRS}.",
            next_step="For example: make bench PAIRS=5",
        )
    return Choice(chosen, tuple(each for each in Operation if each in named), int(pairs))


def _size(word: str) -> Size:
    if word == REAL:
        return Size(REAL_SERVICES, real=True)
    if not _is_number(word) or not 1 <= int(word) <= MAX_SERVICES:
        raise ConfigurationError(
            f"N has {word!r}, which is no number of services.",
            why=f"Allowed are numbers from 1 to {MAX_SERVICES}, and `{REAL}` for {REAL_SERVICES} services that answer.",
            next_step=f'For example: make bench N="{DEFAULT_SIZES}"',
        )
    return Size(int(word))


def _operation(word: str) -> Operation:
    try:
        return Operation(word)
    except ValueError as error:
        nearest = difflib.get_close_matches(word, list(Operation), n=1)
        raise ConfigurationError(
            f"OPERATIONS has {word!r}, which is no operation.",
            why=f"Allowed are {', '.join(Operation)}." + (f" Did you mean {nearest[0]}?" if nearest else ""),
            next_step='For example: make bench OPERATIONS="unchanged one"',
        ) from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def first_of(sizes: Sequence[Size]) -> Size:
    """The size at which the history is timed; the number of services matters little to it."""
    return min(sizes, key=lambda size: (size.real, size.services))


@dataclass(frozen=True)
class Measurement:
    """The runs of one operation at one size, by tool; the tools took turns.

    `commit` is the measured commit, `date` the day; `load` is the machine's load average before the first run.
    """

    size: Size
    operation: Operation
    commit: str
    date: str
    load: float
    runs: Mapping[str, Sequence[Run]]

    def seconds(self, tool: str) -> list[float]:
        return [run.seconds for run in self.runs[tool]]

    def median(self, tool: str) -> float:
        return statistics.median(self.seconds(tool))

    def ratio(self, tool: str, peer: str) -> float:
        """How many times as long `tool` takes as `peer`, median by median."""
        return self.median(tool) / self.median(peer)

    def cpu_seconds(self, tool: str) -> dict[str, float]:
        """Median seconds by kind of process, largest first; a kind that a run does not have counts as zero there."""
        runs = self.runs[tool]
        kinds = {kind for run in runs for kind in run.cpu_seconds}
        medians = {kind: statistics.median(run.cpu_seconds.get(kind, 0.0) for run in runs) for kind in kinds}
        return dict(
            sorted(((kind, used) for kind, used in medians.items() if used), key=lambda each: (-each[1], each[0]))
        )


@dataclass(frozen=True)
class Results:
    """All measurements of one machine; `machine` describes it and the versions there."""

    machine: Mapping[str, str] = field(default_factory=dict)
    measurements: Sequence[Measurement] = ()

    def find(self, size: Size, operation: Operation) -> Measurement | None:
        return next((each for each in self.measurements if (each.size, each.operation) == (size, operation)), None)

    def sizes(self) -> list[Size]:
        """The sizes: without replicas first, smallest first."""
        return sorted({each.size for each in self.measurements}, key=lambda size: (size.real, size.services))

    def merged(self, machine: Mapping[str, str], new: Iterable[Measurement]) -> Results:
        """New measurements replace older ones of the same size and operation; on another machine, all older ones."""
        kept = self.measurements if self.machine == machine else ()
        by_key = {(each.size, each.operation): each for each in (*kept, *new)}
        order = list(Operation)
        key = lambda each: (each.size.real, each.size.services, order.index(each.operation))  # noqa: E731
        return Results(machine, tuple(sorted(by_key.values(), key=key)))


def to_json(results: Results) -> str:
    """JSON with one run per line, so that a diff shows the new runs."""
    lines = []
    for each in results.measurements:
        head = {
            "size": str(each.size),
            "operation": each.operation,
            "commit": each.commit,
            "date": each.date,
            "load": each.load,
        }
        runs = ",\n".join(
            f"   {json.dumps(tool)}: [\n"
            + ",\n".join(f"    {json.dumps(asdict(replace(run, cpu_seconds=dict(run.cpu_seconds))))}" for run in timed)
            + "\n   ]"
            for tool, timed in each.runs.items()
        )
        lines.append(f'  {json.dumps(head)[:-1]}, "runs": {{\n{runs}\n  }}}}')
    machine = json.dumps(dict(results.machine), indent=1).replace("\n", "\n ")
    measurements = ",\n".join(lines)
    return f'{{\n "format": {FORMAT},\n "machine": {machine},\n "measurements": [\n{measurements}\n ]\n}}\n'


def from_json(text: str) -> Results:
    """The inverse of `to_json`. Raises ValueError or KeyError for anything else."""
    content = json.loads(text)
    if content["format"] != FORMAT:
        raise ValueError(f"results of format {content['format']}; this reads {FORMAT}")
    measurements = [
        Measurement(
            Size.parse(each["size"]),
            Operation(each["operation"]),
            each["commit"],
            each["date"],
            each["load"],
            {tool: tuple(Run(**run) for run in runs) for tool, runs in each["runs"].items()},
        )
        for each in content["measurements"]
    ]
    return Results(content["machine"], tuple(measurements))


def load(file: Path = FILE) -> Results:
    """The saved results; empty if there is no file yet."""
    return from_json(file.read_text(encoding="utf-8")) if file.exists() else Results()


def describe() -> dict[str, str]:
    """Names and values, in the order of the table."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    host = bin_folder(PULUMI) / LANGUAGE_HOST
    parts = (PULUMI, KUBERNETES_PROVIDER, DOCKER_BUILD, KUBERNETES, BUILDKIT, HELM_PART)
    return {
        "cores": str(os.cpu_count()),
        "processor": " ".join(processors[0].split()) if processors else platform.machine(),
        "memory": f"{memory_gib():.0f} GiB",
        "system": f"{distribution}, Linux {platform.release()}",
        "Python": platform.python_version(),
        **{part.title: part.version for part in parts},
        "Python language host": "the lab's own" if is_launcher(host) else PULUMI.version,
    }
