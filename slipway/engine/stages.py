"""How long each stage of an update took: get, compile, test, package to build (B); select, push, launch, monitor to
deploy (D); and what the steps of an image build did, from its log. Pure: events in, times out.

A stage's time is how long at least one service was in it, so that parallel work is not counted twice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from slipway.engine.events import STACK_TYPE, Diagnostic, Event, Failed, Finished, Started, StepEvent, Urn

IMAGE_TYPE = "docker-build:index:Image"
KUBERNETES_PREFIX = "kubernetes:"
TEST_STAGE = "test"
PACKAGE_STAGE = "runtime"
OWNERSHIP_HOOK = "slipway-ownership"
"""The hook before each create. The engine records it with each object and calls it by name: it must not change."""
ROLLING_OUT, ROLLED_OUT = "Rolling out", "Rolled out"
"""The start of the program's status of a Deployment while it waits for it, and the status at the end."""

Interval = tuple[float, float]
# The parts of a line of BuildKit's plain progress.
LINE = re.compile(r"#(?P<number>\d+) (?P<text>.*)")
DONE = re.compile(r"DONE(?: (?P<seconds>[\d.]+)s)?")
OUTPUT = re.compile(r"(?P<seconds>\d+\.\d+) ?(?P<text>.*)")
# `[test 2/3] RUN pytest`, with a platform in front when several are built: `[linux/amd64 test  2/13] RUN …`
TITLE = re.compile(r"\[(?:\S+/\S+ )?(?P<stage>\S+) +\d+/\d+\] (?P<instruction>.*)")
EXIT_CODE = re.compile(r"did not complete successfully: exit code: (\d+)")
EXPORT = "exporting to "
HEADLINE_LENGTH = 100


@dataclass(frozen=True)
class Stage:
    """`seconds` is `None` if the stage had nothing to do; `note` says why, or has the result."""

    name: str
    seconds: float | None
    note: str = ""

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.name} {self.note or 'nothing to do'}"
        minutes, rest = divmod(int(self.seconds), 60)
        took = f"{self.seconds:.1f} s" if self.seconds < 60 else f"{minutes} min {rest:02d} s"
        return f"{self.name} {took}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class StageTimes:
    """The build and deploy stages of an update."""

    build: tuple[Stage, ...]
    deploy: tuple[Stage, ...]

    def lines(self) -> list[str]:
        return [f"B  {_line(self.build)}", f"D  {_line(self.deploy)}"]


def gate_line(*stages: Stage) -> str:
    """The line of the stages before the update (G)."""
    return f"G  {_line(stages)}"


def _line(stages: Sequence[Stage]) -> str:
    notes = {stage.note for stage in stages if stage.seconds is None}
    if len(notes) == 1 and all(stage.seconds is None for stage in stages):
        return f"{notes.pop()}: {' · '.join(stage.name for stage in stages)}"
    return " · ".join(map(str, stages))


def stage_times(events: Iterable[Event]) -> StageTimes:
    """The times of an update that succeeded, from all its events in order."""
    run = _Run(tuple(events))
    spent = run.build_intervals()
    has_built = next(run.operations(IMAGE_TYPE), None) is not None
    applied = ((started.at_seconds, ended) for started, ended in run.operations(KUBERNETES_PREFIX))
    # When the program declared its first resource: by then the environment is known.
    declared = (e.at_seconds for e in run.events if isinstance(e, Started) and e.resource.type != STACK_TYPE)
    first_declared_seconds = next(declared, run.events[-1].at_seconds if run.events else 0.0)
    return StageTimes(
        tuple(
            _stage(name, spent[name] if has_built else [], "cached" if has_built else "nothing changed")
            for name in ("get", "compile", "test", "package")
        ),
        (
            _stage("select", [(0.0, first_declared_seconds)]),
            _stage("push", spent["push"], "nothing new"),
            _stage("launch", [*applied, *run.rollout_intervals()], "nothing changed"),
            Stage("monitor", run.monitored_seconds(), run.checks()),
        ),
    )


def _stage(name: str, intervals: Sequence[Interval], otherwise: str = "") -> Stage:
    return Stage(name, covered_seconds(intervals)) if intervals else Stage(name, None, otherwise)


def covered_seconds(intervals: Iterable[Interval]) -> float:
    """Length of the union of the intervals."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


@dataclass(frozen=True)
class _Run:
    """The events of one update, and the times that the stages need."""

    events: tuple[Event, ...]

    def operations(self, type_prefix: str) -> Iterator[tuple[StepEvent, float]]:
        """Each operation that changed something, and when it ended."""
        running: dict[tuple[Urn, str], Started] = {}
        for event in self.events:
            if isinstance(event, Started):
                running[event.resource, event.operation] = event
            elif isinstance(event, Finished | Failed) and event.resource.type.startswith(type_prefix):
                started = running.get((event.resource, event.operation))
                if started and event.changes:
                    yield started, event.at_seconds

    def rollout_intervals(self) -> Iterator[Interval]:
        """When the program waited for each Deployment that was not ready at once."""
        started_at: dict[Urn | None, float] = {}
        for event in self.events:
            if isinstance(event, Diagnostic) and event.ephemeral and event.message.startswith(ROLLING_OUT):
                started_at.setdefault(event.resource, event.at_seconds)
            elif isinstance(event, Diagnostic) and event.ephemeral and event.message.startswith(ROLLED_OUT):
                yield started_at.pop(event.resource, event.at_seconds), event.at_seconds

    def build_intervals(self) -> dict[str, list[Interval]]:
        """When each build stage ran, over all images; a stage that came only from the cache is left out."""
        intervals: dict[str, list[Interval]] = defaultdict(list)
        logs = build_logs(self.events)
        for operation, ended_seconds in self.operations(IMAGE_TYPE):
            for step in logs.get(operation.resource, BuildLog()).steps.values():
                if step.cached:
                    continue
                ended = ended_seconds if step.ended_seconds is None else step.ended_seconds
                if step.exports:
                    exported = min(step.pushing_since_seconds or step.began_seconds, ended)
                    intervals["package"].append((step.began_seconds, exported))
                    intervals["push"].append((exported, ended))
                    continue
                stage = {TEST_STAGE: "test", PACKAGE_STAGE: "package"}.get(step.stage, "compile")
                if not step.stage or step.instruction.startswith("FROM "):
                    stage = "get"  # the context, the Dockerfile, the base image
                intervals[stage].append((step.began_seconds, ended))
        return intervals

    def monitored_seconds(self) -> float:
        """From the last resource or rollout to the outputs of the stack, which wait for every check."""
        finished = [event for event in self.events if isinstance(event, Finished)]
        stack = [event.at_seconds for event in finished if event.resource.type == STACK_TYPE]
        others = [event.at_seconds for event in finished if event.resource.type != STACK_TYPE]
        others = sorted([*others, *(ended for _, ended in self.rollout_intervals())])
        before = [at_seconds for at_seconds in others if not stack or at_seconds <= stack[-1]]
        return max(0.0, stack[-1] - before[-1]) if stack and before else 0.0

    def checks(self) -> str:
        for event in reversed(self.events):
            if isinstance(event, Finished) and event.resource.type == STACK_TYPE:
                number = event.outputs.get("checks")
                return f"{number} check{'' if number == 1 else 's'} met" if number is not None else "no checks"
        return ""


def build_logs(events: Iterable[Event]) -> dict[Urn, BuildLog]:
    """The build log of each image."""
    logs: dict[Urn, BuildLog] = defaultdict(BuildLog)
    for event in events:
        if isinstance(event, Diagnostic) and event.ephemeral and event.resource and event.resource.type == IMAGE_TYPE:
            logs[event.resource].add(event.message, event.at_seconds)
    return logs


@dataclass
class BuildStep:
    """One step of a build (a vertex, in BuildKit's words). Times are seconds since the start of the run."""

    title: str
    began_seconds: float
    ended_seconds: float | None = None
    cached: bool = False
    error: str = ""
    output: list[str] = field(default_factory=list)
    reported: bool = False
    pushing_since_seconds: float | None = None
    """When the local part of an export was done, if the log showed it."""

    @property
    def stage(self) -> str:
        """Name of the Dockerfile stage; empty for BuildKit's own steps."""
        found = TITLE.fullmatch(self.title)
        return found["stage"] if found else ""

    @property
    def instruction(self) -> str:
        found = TITLE.fullmatch(self.title)
        return found["instruction"] if found else ""

    @property
    def headline(self) -> str:
        """The title on one line, at most HEADLINE_LENGTH characters."""
        line = " ".join(self.title.split())
        return line if len(line) <= HEADLINE_LENGTH else f"{line[: HEADLINE_LENGTH - 1]}…"

    @property
    def exports(self) -> bool:
        return self.title.startswith(EXPORT)


@dataclass
class BuildLog:
    """The steps of one image's build, in the order in which they were first mentioned.

    The lines are those of BuildKit's plain printer (util/progress/progressui/printer.go), which the docker-build
    provider passes on one by one as status messages. It closes the pipe as soon as the build is over, so that the last
    lines may be missing: a step without an end lasted until the resource was finished.
    """

    steps: dict[str, BuildStep] = field(default_factory=dict)

    def add(self, line: str, at_seconds: float) -> BuildStep | None:
        """Parse the next line; the step, when the line first shows that it runs and is not cached, else `None`."""
        found = LINE.fullmatch(line)
        if not found or found["number"] == "0":
            return None
        number, text = found["number"], found["text"]
        step = self.steps.get(number)
        if step is None:
            self.steps[number] = BuildStep(text, at_seconds)
            return None
        if done := DONE.fullmatch(text):
            step.ended_seconds = at_seconds
            if done["seconds"]:  # more exact than the time of the first line: parallel steps are printed late
                step.began_seconds = at_seconds - float(done["seconds"])
        elif text == "CACHED":
            step.cached, step.ended_seconds = True, at_seconds
        elif text == "CANCELED":
            step.ended_seconds = at_seconds
        elif text.startswith("ERROR: "):
            step.error, step.ended_seconds = text.removeprefix("ERROR: "), at_seconds
        elif output := OUTPUT.fullmatch(text):
            step.output.append(output["text"])
        elif step.exports and text.startswith("exporting "):
            step.pushing_since_seconds = at_seconds
        if step.reported or step.cached or not (step.stage or step.exports):
            return None
        step.reported = True
        return step

    def failed_step(self) -> BuildStep | None:
        """The first step with an error; without one, the last step with output that never ended."""
        named = [step for step in self.steps.values() if step.error]
        unfinished = [step for step in self.steps.values() if step.output and step.ended_seconds is None]
        return next(iter(named or unfinished[::-1]), None)


def without_marks(line: str) -> str:
    """The output of a step, without its number and the time in front."""
    found = LINE.fullmatch(line)
    text = found["text"] if found else line
    output = OUTPUT.fullmatch(text)
    return output["text"] if output else text
