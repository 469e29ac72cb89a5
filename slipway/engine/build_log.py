"""Reads the plain progress of an image build: which steps ran, for how long, what they printed, which one failed.

The lines are those of BuildKit's plain printer (util/progress/progressui/printer.go), which the docker-build provider
passes on one by one as status messages. It closes the pipe as soon as the build is over, so that the last lines may
be missing: a step without an end lasted until the resource was finished.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE = re.compile(r"#(?P<number>\d+) (?P<text>.*)")
DONE = re.compile(r"DONE(?: (?P<seconds>[\d.]+)s)?")
OUTPUT = re.compile(r"(?P<seconds>\d+\.\d+) ?(?P<text>.*)")
# `[test 2/3] RUN pytest`, with a platform in front when several are built: `[linux/amd64 test  2/13] RUN …`
TITLE = re.compile(r"\[(?:\S+/\S+ )?(?P<stage>\S+) +\d+/\d+\] (?P<instruction>.*)")
EXIT_CODE = re.compile(r"did not complete successfully: exit code: (\d+)")
EXPORT = "exporting to "
HEADLINE_LENGTH = 100


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
    """The steps of one image's build, in the order in which they were first mentioned."""

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
