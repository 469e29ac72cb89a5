"""`slipway down` and `slipway reap`: takes down one environment, or every expired temporary one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from slipway import project as projects
from slipway.environments import removal
from slipway.environments.temporary import Temporary, is_declared, require_writable, taken_down_comment
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.project import Project
from slipway.render.words import counted
from slipway.stack import Stack
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
        require_writable(options.markdown)
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
        options.markdown.write_text(taken_down_comment(project.name, name), encoding="utf-8")
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


@dataclass(frozen=True)
class Candidate:
    """A stack with the tags of a temporary environment; `kept` says why it is not taken down, and is empty if it is."""

    name: str
    like: str
    expires: datetime | None
    kept: str = ""


def reap(*, preview: bool, json_output: bool) -> int:
    """Take down the expired environments; returns the exit code. SlipwayError (1) if one cannot be taken down."""
    project = projects.require(Path.cwd())
    stack = removal.any_stack(project)
    found = [each for name in stack.stacks.names() if (each := _candidate(project, stack, name))]
    failed: dict[str, str] = {}
    for each in found:
        if not json_output and each.kept:
            typer.echo(f"{each.name} is kept: {each.kept}.")
        elif not json_output:
            verb = "would be taken down" if preview else "is taken down"
            typer.echo(f"{each.name} {verb}: it expired {each.expires:%Y-%m-%d %H:%M} UTC.")
        if each.kept or preview:
            continue
        try:
            with removal.opened(each.name) as opened:
                if opened:
                    removal.remove(opened, Progress())
        except SlipwayError as error:  # the others can still be taken down
            if error.code == ExitCode.INTERRUPTED:
                raise
            failed[each.name] = str(error)
    if json_output:
        typer.echo(json.dumps([reap_shape(each, failed, preview=preview) for each in found], indent=2))
    elif not found:
        typer.echo("There is no temporary environment.")
    if failed:
        raise SlipwayError(
            f"Not taken down: {', '.join(failed)}.",
            why="\n".join(f"{name}: {reason}" for name, reason in failed.items()),
            next_step="`slipway reap` tries again.",
        )
    return ExitCode.DONE


def _candidate(project: Project, stack: Stack, name: str) -> Candidate | None:
    """`None` if the stack was not made with `--like`."""
    try:
        temporary = Temporary.of_tags(stack.stacks.tags(name))
    except ValueError as error:
        return Candidate(name, "", None, f"its tag does not say when it expires: {error}")
    if temporary is None:
        return None
    kept = ""
    if is_declared(project, name):
        kept = f"Pulumi.{name}.yaml belongs to the repository"
    elif not temporary.has_expired(datetime.now(UTC)):
        kept = f"it stays {temporary.until()}"
    return Candidate(name, temporary.like, temporary.expires, kept)


def reap_shape(found: Candidate, failed: Mapping[str, str], *, preview: bool) -> dict[str, Any]:
    """The JSON of one environment."""
    return {
        "name": found.name,
        "like": found.like or None,
        "expires": f"{found.expires:%Y-%m-%dT%H:%M:%SZ}" if found.expires else None,
        "kept": found.kept or None,
        "takenDown": not (found.kept or preview or found.name in failed),
        "problem": failed.get(found.name),
    }
