"""`slipway rollback`: rolls an environment back to a recorded state, and proves that it is there."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from slipway.backend.update_info import ROLLBACK_SETTING
from slipway.deploy.preparation import prepare_stack
from slipway.deploy.preview import Preview
from slipway.deploy.summary import PreviewResult
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.render.markdown_text import clean
from slipway.render.terminal import show
from slipway.rollback.run import Rollback, RollbackOptions, checks_met, require_history
from slipway.stack import open_stack


def rollback(*, name: str, to: int | None, options: RollbackOptions, preview: bool, yes: bool) -> int:
    """Roll the stack `name` back to update `to`, or to the last good one; returns the exit code."""
    if not (yes or preview) and not sys.stdin.isatty():
        raise ConfigurationError(
            "Standard input is not a terminal, so there is no prompt.",
            next_step="Add --yes to roll back without a prompt, or --preview to see what it would do.",
        )
    try:
        progress = Progress()
        stack = open_stack(name)
        # First: a rollback must not create a stack that the backend does not have.
        require_history(stack.history())
        prepare_stack(stack, progress.note)
        prepared = Rollback.prepare(stack, to, options)
        typer.echo(headline(prepared))
        if preview or not yes:
            _show_preview(prepared, progress)
        if preview:
            return ExitCode.DONE
        if not yes and not _is_wanted(prepared):
            raise SlipwayError(f"{stack} was not rolled back: you answered no.")
        carry_out(prepared, progress)
        return ExitCode.DONE
    except KeyboardInterrupt as error:  # between two runs of the engine, which handles Ctrl-C itself
        raise SlipwayError(f"Interrupted; {name} was not rolled back.", code=ExitCode.INTERRUPTED) from error


def carry_out(prepared: Rollback, progress: Progress) -> None:
    """Replay, wait, check, compare; prints the result, or raises the error."""
    update, stack, target = prepared.run(progress), prepared.stack, prepared.target.number
    try:
        proof = prepared.verify()
    except KeyboardInterrupt as error:
        raise SlipwayError(
            f"Interrupted: {stack} was rolled back to #{target}, but not yet compared with it.",
            next_step=f"`slipway diff -s {stack} {target}` and `slipway verify -s {stack}` compare it.",
            code=ExitCode.INTERRUPTED,
        ) from error
    only = prepared.request.services
    what = f"{', '.join(only)} of {stack} {'is' if len(only) == 1 else 'are'}" if only else f"{stack} is"
    typer.echo(f"{what} back at #{target}: {proof}, {checks_met(update)}.")
    if (setting := prepared.stack.config().get(ROLLBACK_SETTING)) not in (None, str(target)):
        typer.echo(f"Pulumi.{stack}.yaml has {ROLLBACK_SETTING}: {setting}, so the next update rolls back to it.")


def headline(prepared: Rollback) -> str:
    """What is rolled back to which update, in a few lines."""
    target, only = prepared.target, prepared.request.services
    what = f"{prepared.stack}: {', '.join(only)}" if only else prepared.stack
    dirty = " (with uncommitted changes)" if target.dirty else ""
    parts = (
        f"Rollback of {what} from #{prepared.source} to #{target.number}",
        f"{target.started:%Y-%m-%d %H:%M} UTC",
        f"by {clean(target.author)}" if target.author else "",
        f"commit {target.commit[:8]}{dirty}" if target.commit else "",
        clean(target.message.splitlines()[0]) if target.message else "",
    )
    lines = [", ".join(filter(None, parts))]
    if prepared.warning:
        lines.append(prepared.warning)
    if prepared.moved:
        lines.append(f"The cluster differs from the state, so these are refreshed first: {prepared.moved}")
    if prepared.reason:
        lines.append(f"Today's policies are overridden: {prepared.reason}")
    return "\n".join(lines)


def _show_preview(prepared: Rollback, progress: Progress) -> None:
    preview = Preview(
        prepared.stack.project,
        prepared.stack.name,
        refresh=bool(prepared.moved),
        arguments=prepared.arguments(),
        variables=prepared.variables(),
        progress=progress,
    )
    error: SlipwayError | None = None
    try:
        preview.run(prepared.stack)
    except SlipwayError as caught:
        error = caught
    summary = preview.summary(error)
    show(summary, Console(highlight=False))
    # The engine fails a preview that the policies refuse. With a reason, they are shown and overridden.
    if error and not (prepared.reason and summary.result is PreviewResult.REFUSED):
        raise error


def _is_wanted(prepared: Rollback) -> bool:
    try:
        return typer.confirm(f"Roll {prepared.stack} back to #{prepared.target.number}?", err=True)
    except typer.Abort as error:  # Ctrl-C or Ctrl-D
        raise KeyboardInterrupt from error
