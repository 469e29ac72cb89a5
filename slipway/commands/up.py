"""`slipway up`: brings an environment to what the program declares, and shows it happening."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from slipway.engine_events import STACK_TYPE, Event, Finished
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.session import open_session
from slipway.stages import stage_times
from slipway.update import require_success, run_update


def up(*, stack: str, yes: bool) -> int:
    """Update `stack`; the exit code of the command."""
    _require_consent_possible(yes)
    session = open_session(stack)
    if not yes:
        _ask(stack)
    progress = Progress()
    session.stacks.ensure(stack, progress.note)
    update = run_update(session, stack, [], progress)
    require_success(stack, update, progress)
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
