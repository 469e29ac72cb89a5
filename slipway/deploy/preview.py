"""Previews a stack with the policy pack: what an update would do, and what the policies say about it."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from policy import program_check
from slipway.cluster.drift import Drift
from slipway.deploy.display import POLICY_TIMEOUT_ADVICE, PolicyPackTimeout, UpdateDisplay
from slipway.deploy.drift import find_drift
from slipway.deploy.preview_events import STREAMING, PreviewEvents
from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary
from slipway.deploy.work_tree import commits
from slipway.engine.errors import NotOwnedError, NotRolledBackError, failure, gone_advice, known_failure
from slipway.engine.events import StepEvent, open_log
from slipway.engine.pulumi_cli import Completed
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.masking import masked_text
from slipway.progress import Progress
from slipway.project import Project
from slipway.stack import Stack
from slipway.state.checkpoint import objects

POLICY_PACK = "policy"


@dataclass
class Preview:
    """One preview with its events so far; `summary` may be called with or without `run` before it."""

    project: Project
    stack: str
    drift: bool = False
    """Whether to compare the cluster with the recorded state as well, as `slipway drift` does."""
    refresh: bool = False
    """Whether to preview an update that reverts changes made by hand."""
    arguments: Sequence[str] = ()
    """More arguments for `pulumi preview`."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """More environment variables for it."""
    progress: Progress = field(default_factory=Progress)
    events: PreviewEvents = field(default_factory=PreviewEvents)
    started: float = field(default_factory=time.monotonic)
    _opened: Stack | None = None
    _drift: Drift | None = None

    def run(self, stack: Stack) -> None:
        """Preview to the end, whatever it finds; raises SlipwayError if it does not reach its end."""
        self._opened = stack
        pack = policy_pack(self.project)
        if self.drift and (state := stack.present()) and objects(state):  # before the first update there is none
            self._drift = find_drift(stack, stack.beside_cluster(state), self.progress.note)
        with self.progress.step(f"Preview {self.stack}") as whole:
            self._run(stack, pack, UpdateDisplay(self.progress, whole))

    def _run(self, stack: Stack, pack: Path, display: UpdateDisplay) -> None:
        # The pack evaluates the same program, so the program skips its own check.
        engine = stack.engine.with_variables(STREAMING, skip_program_gate(self.project, self.stack), self.variables)
        arguments = ["preview", "--stack", self.stack, "--json", "--policy-pack", str(pack), *self.arguments]
        if self.refresh:
            arguments.append("--refresh")
        watch = PolicyPackTimeout.of(engine.environment, pack)
        with open_log("preview", self.stack) as log:

            def on_line(line: str, at_seconds: float) -> None:
                log.write_line(line, at_seconds)
                event = self.events.take(line, at_seconds)
                watch.take(line, event, at_seconds)
                # Of the resources only builds, which take time in a preview; the summary has the rest.
                if event and (not isinstance(event, StepEvent) or event.resource.type == IMAGE_TYPE):
                    display.show(event)

            ended = engine.stream(arguments, on_line, self.progress.note, watch.overdue)
            display.close(interrupted=ended.interrupted)
            log.write(ended.errors)
        if ended.exit_code or ended.interrupted:
            self.progress.note(f"Engine log: {log.name}")
            raise _error(self.stack, self.events, ended)
        if problems := self.events.problems():  # a program may report an error and go on
            raise SlipwayError(
                f"The preview of {self.stack} failed.", why="\n".join(problem.message for problem in problems)
            )

    def summary(self, error: SlipwayError | None) -> PreviewSummary:
        """The summary so far, with `error` among its problems if the events do not say the same."""
        drift: dict[str, Any] = {}
        if self._drift:
            drift = {"drift": self._drift.changes, "changed_by": self._drift.changed_by}
        elif self.drift and self._opened:  # without a state there is none
            drift = {"drift": ()}
        seconds = time.monotonic() - self.started
        summary = self.events.summary(self.project.name, self.stack, **drift, duration_seconds=seconds)
        engine = self._opened.engine if self._opened and summary.changes else None
        summary = replace(summary, commits=commits(self.project.folder, engine, self.stack))
        if error is None:
            return summary
        if error.code == ExitCode.INTERRUPTED:
            return replace(summary, result=PreviewResult.INTERRUPTED)
        if summary.result is PreviewResult.REFUSED:  # the engine fails for that reason too
            return summary
        problems = summary.problems
        # An error that says more than what the engine reported comes first, and replaces its own among them.
        if error.next_step or isinstance(error, ConfigurationError) or not problems:
            what, why = masked_text(error.what), masked_text(error.why)
            said = [line.strip() for line in (what, *why.splitlines()[:1]) if line.strip()]
            others = [problem for problem in problems if not any(line in problem.message for line in said)]
            message = "\n".join(filter(None, (what, why)))
            problems = (PreviewProblem(message, next_step=error.next_step), *others)
        return replace(summary, result=PreviewResult.FAILED, problems=problems)


def skip_program_gate(project: Project, stack: str) -> dict[str, str]:
    """The variable that makes the program skip its own policy check, only for the files as they are now."""
    return {program_check.VARIABLE: program_check.token(project.folder, project.name, stack)}


def policy_pack(project: Project) -> Path:
    """The folder of the policy pack, or ConfigurationError."""
    pack = project.folder / POLICY_PACK
    if not (pack / "PulumiPolicy.yaml").is_file():
        raise ConfigurationError(
            f"There is no policy pack: {pack / 'PulumiPolicy.yaml'} does not exist.",
            why="A preview without the policies could hide violations.",
            next_step="Restore the folder from git.",
        )
    return pack


def _error(stack: str, events: PreviewEvents, ended: Completed) -> SlipwayError:
    if ended.interrupted:
        return SlipwayError(f"The preview of {stack} was interrupted.", code=ExitCode.INTERRUPTED)
    if ended.overdue:
        return SlipwayError(
            f"The preview of {stack} was stopped: {ended.overdue}.",
            why="The policies were not evaluated, so nothing was changed.",
            next_step=POLICY_TIMEOUT_ADVICE,
        )
    if ended.exit_code < 0:
        name = signal.Signals(-ended.exit_code).name
        return SlipwayError(
            f"The engine was killed by {name} while it previewed {stack}.",
            why="The usual reason is memory: see `dmesg` for the OOM killer.",
            next_step=f"If the stack is locked now, release it with `pulumi cancel -s {stack}`.",
        )
    error = failure(stack, events.events, ended.errors)
    if isinstance(error, ConfigurationError | NotRolledBackError | NotOwnedError) or known_failure(stack, error.why):
        return error
    return SlipwayError(f"The preview of {stack} failed.", why=error.why, next_step=gone_advice(stack, error.why))
