"""`slipway up`: brings an environment to what the program declares, and shows it happening."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.text import Text

from slipway.build_log import BuildStep
from slipway.engine_errors import failed_builds, failure, killed
from slipway.engine_events import STACK_TYPE, Event, Finished, Resource, parse
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.event_log import open_log, write_line
from slipway.progress import Progress
from slipway.pulumi_cli import Completed
from slipway.session import Session, open_session
from slipway.stages import stage_times
from slipway.update_display import UpdateDisplay


def up(*, stack: str, yes: bool) -> int:
    """Update `stack`; the exit code of the command."""
    _require_consent_possible(yes)
    session = open_session(stack)
    if not yes:
        _ask(stack)
    progress = Progress()
    session.stacks.ensure(stack, progress.note)
    with progress.step(f"Update {stack}") as whole:
        update = _run(session, stack, UpdateDisplay(progress, whole))
        _require_success(stack, update, progress)
    _show_summary(update.events)
    return ExitCode.DONE


def _require_consent_possible(yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise ConfigurationError(
            "Standard input is no terminal, so nobody can be asked.", next_step="Add --yes to update without asking."
        )


def _ask(stack: str) -> None:
    try:
        if typer.confirm(f"Update {stack}?", err=True):
            return
    except typer.Abort as error:  # Ctrl-C or Ctrl-D, which would exit with 1
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    raise SlipwayError(f"{stack} was not updated: you said no.")


@dataclass(frozen=True)
class _Update:
    """An update's events, how it ended, and the file that has all the engine said."""

    events: Sequence[Event]
    ended: Completed
    log: str


def _run(session: Session, stack: str, display: UpdateDisplay) -> _Update:
    events: list[Event] = []
    with open_log("up", stack) as log:

        def on_line(line: str, at_seconds: float) -> None:
            write_line(log, line, at_seconds)
            if event := parse(line, at_seconds):
                events.append(event)
                display.show(event)

        arguments = ["up", "--stack", stack, "--yes", "--skip-preview", "--json"]
        ended = session.engine.stream(arguments, on_line, display.progress.note)
        display.close()
        log.write(ended.errors)
    return _Update(events, ended, log.name)


def _require_success(stack: str, update: _Update, progress: Progress) -> None:
    if not update.ended.exit_code and not update.ended.interrupted:
        return
    progress.note(f"All that the engine said: {update.log}")
    if update.ended.interrupted:
        raise SlipwayError(
            f"The update of stack {stack} was interrupted.",
            next_step=f"`slipway up -s {stack}` goes on where it stopped.",
            code=ExitCode.INTERRUPTED,
        )
    _show_failed_builds(progress.console, failed_builds(update.events))
    if update.ended.exit_code < 0:
        raise killed(stack, -update.ended.exit_code)
    raise failure(stack, update.events, update.ended.errors)


def _show_failed_builds(console: Console, failed: dict[Resource, BuildStep]) -> None:
    for image, step in failed.items():
        console.print(Text(f"\n{image}: {step.headline}", style="bold red"), soft_wrap=True)
        for line in step.output:
            console.print(Text(f"  {line}"), soft_wrap=True)
        if not step.error:
            console.print(Text("  (the last lines may be missing)", style="dim"))
    if failed:
        console.print()


def _show_summary(events: Sequence[Event]) -> None:
    services = _outputs(events).get("services", {})
    width = max((len(name) for name in services), default=0)
    for name, service in sorted(services.items()):
        typer.echo(f"{name:<{width}}  {service.get('url', '')}")
    for line in stage_times(events).lines():
        typer.echo(line)


def _outputs(events: Sequence[Event]) -> dict[str, dict[str, dict[str, str]]]:
    for event in reversed(events):
        if isinstance(event, Finished) and event.resource.type == STACK_TYPE:
            return dict(event.outputs)
    return {}
