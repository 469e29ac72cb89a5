"""Results: every timed run, by size and operation, and the machine, in one JSON file; medians and spreads."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench.choice import Operation, Size
from bench.helm import HELM_PART
from bench.processes import Run
from lab.toolchain.layout import bin_folder, is_launcher
from lab.toolchain.parts import BUILDKIT, DOCKER_BUILD, KUBERNETES, KUBERNETES_PROVIDER, LANGUAGE_HOST, PULUMI

FILE = Path(__file__).with_name("results.json")
FORMAT = 1


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
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    host = bin_folder(PULUMI) / LANGUAGE_HOST
    parts = (PULUMI, KUBERNETES_PROVIDER, DOCKER_BUILD, KUBERNETES, BUILDKIT, HELM_PART)
    return {
        "cores": str(os.cpu_count()),
        "processor": " ".join(processors[0].split()) if processors else platform.machine(),
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{distribution}, Linux {platform.release()}",
        "Python": platform.python_version(),
        **{part.title: part.version for part in parts},
        "Python language host": "the lab's own" if is_launcher(host) else PULUMI.version,
    }
