"""`slipway down`: takes an environment down, with its stack, history, namespace and settings file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from slipway import project as projects
from slipway.environments import comment, removal
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.render.words import counted
from slipway.state.checkpoint import ResourceState, objects

CLAIM_TYPE = "kubernetes:core/v1:PersistentVolumeClaim"


@dataclass(frozen=True)
class DownOptions:
    """The command's options; `markdown` is a file for a pull request's comment."""

    yes: bool = False
    committed: bool = False
    if_exists: bool = False
    markdown: Path | None = None


def down(*, name: str, options: DownOptions) -> int:
    """Take environment `name` down; returns the exit code."""
    if not options.yes and not sys.stdin.isatty():
        raise ConfigurationError(
            "Standard input is not a terminal, so there is no prompt.",
            next_step="Add --yes to take it down without a prompt.",
        )
    project = projects.require(Path.cwd())
    removal.require_removable(project, name, committed=options.committed)
    if options.markdown:
        comment.require_writable(options.markdown)
    try:
        with removal.opened(name) as stack:
            if stack is None and not removal.remove_settings(project, name):
                if not options.if_exists:
                    project.require_environment(name)
                typer.echo(f"There is no stack {name}: nothing to take down.")
            elif stack is None:
                typer.echo(f"{name} had no stack; removed its settings.")
            else:
                found = objects(stack.present() or {})
                if not options.yes and not _is_wanted(_question(name, found)):
                    raise SlipwayError(f"{name} was not taken down: you answered no.")
                removal.remove(stack, Progress())
                typer.echo(f"Deleted {name}: {counted(len(found), 'object')}, its stack and its history.")
    except KeyboardInterrupt as error:  # between two runs of the engine, which handles Ctrl-C itself
        raise SlipwayError(
            "Interrupted.", next_step=f"`slipway down -s {name}` continues.", code=ExitCode.INTERRUPTED
        ) from error
    if options.markdown:
        options.markdown.write_text(comment.taken_down(project.name, name), encoding="utf-8")
    return ExitCode.DONE


def _question(name: str, found: Mapping[str, ResourceState]) -> str:
    claims = sum(each.type == CLAIM_TYPE for each in found.values())
    data = f", and the data in {counted(claims, 'volume claim')}" if claims else ""
    return f"Delete {name} with {counted(len(found), 'object')}{data}?"


def _is_wanted(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:  # Ctrl-C or Ctrl-D
        raise SlipwayError("Interrupted: the environment was not taken down.", code=ExitCode.INTERRUPTED) from error
