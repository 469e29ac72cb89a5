"""`slipway preview`: builds and unit-tests what changed, asks the policies, and says what an update would do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from policy import approval
from slipway import project as projects
from slipway.commits import commits, links
from slipway.engine_errors import failure, known_failure
from slipway.engine_events import Event, Step
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.event_log import open_log, write_line
from slipway.markdown import render
from slipway.preview_events import STREAMING, PreviewEvents
from slipway.progress import Progress
from slipway.project import Project
from slipway.pulumi_cli import Completed
from slipway.session import Session, open_session
from slipway.stages import IMAGE_TYPE
from slipway.summary import Problem, Result, Summary
from slipway.summary_json import to_json
from slipway.terminal_summary import show
from slipway.update_display import UpdateDisplay

POLICY_PACK = "policy"
EXIT_CODES = {
    Result.SUCCEEDED: ExitCode.DONE,
    Result.REFUSED: ExitCode.POLICY,
    Result.INTERRUPTED: ExitCode.INTERRUPTED,
}


def preview(*, stack: str, markdown: Path | None, json_file: Path | None, drift: bool) -> int:
    """Preview `stack`, print the summary, and write it to the files, also when the preview fails; the exit code."""
    for file in filter(None, (markdown, json_file)):
        _clear(file)
    project = projects.require(Path.cwd())
    project.environment_file(stack)
    attempt = _Attempt(project, stack, drift)
    error = attempt.run()
    summary = attempt.summary(error)
    if markdown:
        _write(markdown, render(summary, links(os.environ, summary.commits)))
    if json_file:
        _write(json_file, to_json(summary))
    show(summary, Console(highlight=False))
    return _exit_code(summary, error)


def _exit_code(summary: Summary, error: SlipwayError | None) -> ExitCode:
    if summary.result is Result.SUCCEEDED and summary.drift:
        return ExitCode.DRIFT
    return EXIT_CODES.get(summary.result, error.code if error else ExitCode.FAILED)


@dataclass
class _Attempt:
    """One preview, with what it said so far."""

    project: Project
    stack: str
    drift: bool
    events: PreviewEvents = field(default_factory=PreviewEvents)
    progress: Progress = field(default_factory=Progress)
    started: float = field(default_factory=time.monotonic)
    session: Session | None = None

    def run(self) -> SlipwayError | None:
        """Why the preview did not come to its end; `None` if it did, whatever it found."""
        try:
            pack = _policy_pack(self.project)
            self.session = open_session(self.stack)
            self.session.stacks.ensure(self.stack, self.progress.note)
            with self.progress.step(f"Preview {self.stack}") as whole:
                self._preview(self.session, pack, UpdateDisplay(self.progress, whole))
        except SlipwayError as error:
            return error
        return None

    def _preview(self, session: Session, pack: Path, display: UpdateDisplay) -> None:
        # The pack judges the same program, so its own gate need not.
        passed = {approval.VARIABLE: approval.token(self.project.folder, self.project.name, self.stack)}
        engine = replace(session.engine, environment={**session.engine.environment, **STREAMING, **passed})
        arguments = ["preview", "--stack", self.stack, "--json", "--policy-pack", str(pack)]
        if self.drift:
            arguments.append("--refresh")
        with open_log("preview", self.stack) as log:

            def on_line(line: str, at_seconds: float) -> None:
                write_line(log, line, at_seconds)
                if event := self.events.take(line, at_seconds):
                    _show_builds(display.show, event)

            ended = engine.stream(arguments, on_line, self.progress.note)
            display.close()
            log.write(ended.errors)
        if ended.exit_code or ended.interrupted:
            self.progress.note(f"All that the engine said: {log.name}")
            raise _error(self.stack, self.events, ended)

    def summary(self, error: SlipwayError | None) -> Summary:
        """What is known now, with `error` among its problems where the events do not say the same."""
        summary = self.events.summary(
            self.project.name,
            self.stack,
            drift=self.drift,
            duration_seconds=time.monotonic() - self.started,
        )
        known = commits(
            self.project.folder, self.session.engine if self.session and summary.changes else None, self.stack
        )
        summary = replace(summary, commits=known)
        if error is None:
            return summary
        if error.code == ExitCode.INTERRUPTED:
            return replace(summary, result=Result.INTERRUPTED)
        if summary.result is Result.REFUSED:  # the engine fails for that reason too
            return summary
        return replace(summary, result=Result.FAILED, problems=_problems(summary, error))


def _error(stack: str, events: PreviewEvents, ended: Completed) -> SlipwayError:
    if ended.interrupted:
        return SlipwayError(f"The preview of {stack} was interrupted.", code=ExitCode.INTERRUPTED)
    if ended.exit_code < 0:
        name = signal.Signals(-ended.exit_code).name
        return SlipwayError(
            f"The engine was killed by {name} while it previewed {stack}.",
            why="Its memory is the usual reason: see `dmesg` for the OOM killer.",
            next_step=f"If the stack is locked now, release it with `pulumi cancel -s {stack}`.",
        )
    error = failure(stack, events.events, ended.errors)
    if isinstance(error, ConfigurationError) or known_failure(stack, error.why):
        return error
    return SlipwayError(f"The preview of {stack} failed.", why=error.why)


def _problems(summary: Summary, error: SlipwayError) -> tuple[Problem, ...]:
    """Those that the engine told one by one; an error that says more than they do comes first and replaces its own."""
    if not error.next_step and not isinstance(error, ConfigurationError) and summary.problems:
        return summary.problems
    said = [line.strip() for line in (error.what, *error.why.splitlines()[:1]) if line.strip()]
    others = [problem for problem in summary.problems if not any(line in problem.message for line in said)]
    message = "\n".join(filter(None, (error.what, error.why)))
    return (Problem(message, next_step=error.next_step), *others)


def _show_builds(show_event: Callable[[Event], None], event: Event) -> None:
    """Only builds take time in a preview; all else is in the summary."""
    if not isinstance(event, Step) or event.resource.type == IMAGE_TYPE:
        show_event(event)


def _policy_pack(project: Project) -> Path:
    pack = project.folder / POLICY_PACK
    if not (pack / "PulumiPolicy.yaml").is_file():
        raise ConfigurationError(
            f"There is no policy pack: {pack / 'PulumiPolicy.yaml'} does not exist.",
            why="Nothing is previewed without the policies, so that nothing looks compliant that nobody checked.",
            next_step="Restore the folder from git.",
        )
    return pack


def _clear(file: Path) -> None:
    """Remove what an earlier preview wrote: a preview that cannot be written must not look like that one."""
    try:
        file.unlink(missing_ok=True)
        file.touch()
        file.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}.", next_step="Name a file in a folder that exists."
        ) from error


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
