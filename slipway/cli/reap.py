"""`slipway reap`: takes down expired temporary environments, but none that the repository declares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from slipway import project as projects
from slipway.environments import removal
from slipway.environments.temporary import Temporary, is_declared
from slipway.errors import ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.project import Project
from slipway.stack import Stack


@dataclass(frozen=True)
class Found:
    """A stack with the tags of a temporary environment; `kept` says why it is not taken down, and is empty if it is."""

    name: str
    like: str
    expires: datetime | None
    kept: str = ""


def reap(*, preview: bool, json_output: bool) -> int:
    """Take down the expired environments; returns the exit code. SlipwayError (1) if one cannot be taken down."""
    project = projects.require(Path.cwd())
    stack = removal.any_stack(project)
    found = [each for name in stack.stacks.names() if (each := _found(project, stack, name))]
    failed: dict[str, str] = {}
    for each in found:
        if not json_output:
            typer.echo(_line(each, preview=preview))
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
        typer.echo(json.dumps([_as_json(each, failed, preview=preview) for each in found], indent=2))
    elif not found:
        typer.echo("There is no temporary environment.")
    if failed:
        raise SlipwayError(
            f"Not taken down: {', '.join(failed)}.",
            why="\n".join(f"{name}: {reason}" for name, reason in failed.items()),
            next_step="`slipway reap` tries again.",
        )
    return ExitCode.DONE


def _found(project: Project, stack: Stack, name: str) -> Found | None:
    """`None` if the stack was not made with `--like`."""
    try:
        temporary = Temporary.of_tags(stack.stacks.tags(name))
    except ValueError as error:
        return Found(name, "", None, f"its tag does not say when it expires: {error}")
    if temporary is None:
        return None
    kept = ""
    if is_declared(project, name):
        kept = f"Pulumi.{name}.yaml belongs to the repository"
    elif not temporary.has_expired(datetime.now(UTC)):
        kept = f"it stays {temporary.until()}"
    return Found(name, temporary.like, temporary.expires, kept)


def _line(found: Found, *, preview: bool) -> str:
    if found.kept:
        return f"{found.name} is kept: {found.kept}."
    verb = "would be taken down" if preview else "is taken down"
    return f"{found.name} {verb}: it expired {found.expires:%Y-%m-%d %H:%M} UTC."


def _as_json(found: Found, failed: dict[str, str], *, preview: bool) -> dict[str, Any]:
    return {
        "name": found.name,
        "like": found.like or None,
        "expires": f"{found.expires:%Y-%m-%dT%H:%M:%SZ}" if found.expires else None,
        "kept": found.kept or None,
        "takenDown": not (found.kept or preview or found.name in failed),
        "problem": failed.get(found.name),
    }
