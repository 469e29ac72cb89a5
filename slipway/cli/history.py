"""`slipway history`: the updates of an environment, and what each changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.text import Text

from slipway.backend import History, UpdateInfo
from slipway.backend.services import RecordedServices, ServiceChange
from slipway.deploy.work_tree import DIRTY
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress, elapsed_text, print_table
from slipway.render.markdown_text import clean, some_of
from slipway.render.words import COMMIT_DIGITS, DIGEST_DIGITS, repository
from slipway.stack import open_stack

HISTORY_HEADINGS = ("#", "time", "who", "commit", "kind", "result", "services changed", "took")
# Columns that move under their row on a narrow terminal.
BELOW = ("services changed", "who", "kind")
NAMED = 4
# Reading more states than this takes so long that a person wants to see progress.
MANY_STATES = 50
NOTHING = "-"
DIGEST = "sha256:"


@dataclass(frozen=True)
class Row:
    """An update and the services it changed; `problem` says why these are unknown."""

    entry: UpdateInfo
    services: tuple[ServiceChange, ...] = ()
    problem: str = ""


def history(*, name: str, limit: int, json_output: bool) -> int:
    """Print the last `limit` updates; returns the exit code."""
    if limit < 1:
        raise ConfigurationError(
            f"--limit is {limit}.", why="At least one update is shown.", next_step="Give 1 or a greater number."
        )
    stack = open_stack(name, cluster=False)
    found = stack.history()
    if min(limit, len(found.numbers)) > MANY_STATES:
        with Progress().step(f"Read the history of {stack}"):
            rows = read_rows(found, limit)
    else:
        rows = read_rows(found, limit)
    if json_output:
        typer.echo(json.dumps([row_shape(row) for row in rows], indent=2, ensure_ascii=False))
    elif rows:
        print_table(HISTORY_HEADINGS, [row_cells(row) for row in rows], right=("#", "took"), below=BELOW)
    else:
        typer.echo(f"{stack} has no history: it was never updated. `slipway up -s {stack}` makes the first entry.")
    return ExitCode.DONE


def read_rows(found: History, limit: int) -> list[Row]:
    """The last `limit` updates, newest first; reads only their states and the state before them."""
    recorded = RecordedServices(found)
    rows = []
    for entry in reversed(found.latest(limit)):
        services: tuple[ServiceChange, ...] = ()
        problem = entry.problem
        if not problem:
            try:
                services = recorded.changes(entry.number)
            except SlipwayError as error:
                problem = error.why
        rows.append(Row(entry, services, problem))
    recorded.save()
    return rows


def row_cells(row: Row) -> Sequence[str | Text]:
    entry = row.entry
    time = entry.started.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if entry.problem:
        return (str(entry.number), time, *[NOTHING] * 3, Text("unreadable", "red"), entry.problem, NOTHING)
    return (
        str(entry.number),
        time,
        clean(entry.author) or NOTHING,
        f"{entry.commit[:COMMIT_DIGITS]}{DIRTY if entry.dirty else ''}" if entry.commit else NOTHING,
        kind_text(entry),
        Text("succeeded", "green") if entry.succeeded else Text("failed", "red"),
        row.problem or some_of([service_text(each) for each in row.services], NAMED) or NOTHING,
        elapsed_text(entry.duration_seconds),
    )


def kind_text(entry: UpdateInfo) -> str:
    """`rollback of #14 to #12 (user-service)`; one word for any other update."""
    if entry.rollback is None:
        return entry.kind.value
    only = f" ({', '.join(entry.rollback.services)})" if entry.rollback.services else ""
    overridden = ", policies overridden" if entry.rollback.reason else ""
    return f"rollback of #{entry.rollback.source} to #{entry.rollback.target}{only}{overridden}"


def service_text(change: ServiceChange) -> str:
    """`user-service 2675f307 → 00aa11bb (#12 of dev)`; `user-service (settings)` if the image is the same."""
    if change.old_image == change.new_image:
        return f"{change.name} (settings)"
    old, new = (short_digest(image) for image in (change.old_image, change.new_image))
    origin = change.promoted_from
    trail = f" (#{origin['update']} of {origin['environment']})" if origin else ""
    return f"{change.name} {old or NOTHING} → {new or NOTHING}{trail}"


def short_digest(image: str) -> str:
    """The first digits of an image's digest; its tag if it has no digest."""
    _, found, digits = image.partition(f"@{DIGEST}")
    return digits[:DIGEST_DIGITS] if found else image.removeprefix(repository(image)).lstrip(":") or image


def row_shape(row: Row) -> dict[str, Any]:
    """The JSON of one update, as docs/history.md describes it."""
    entry = row.entry
    rollback = entry.rollback and {
        "source": entry.rollback.source,
        "target": entry.rollback.target,
        "services": list(entry.rollback.services),
        "overriddenPolicies": entry.rollback.reason,
    }
    return {
        "number": entry.number,
        "started": entry.started.isoformat(),
        "durationSeconds": entry.duration_seconds,
        "author": entry.author,
        "commit": entry.commit,
        "dirty": entry.dirty,
        "kind": entry.kind.value,
        "rollback": rollback,
        "succeeded": entry.succeeded,
        "message": entry.message,
        "changes": dict(entry.changes),
        "services": [
            {
                "name": each.name,
                "oldImage": each.old_image,
                "newImage": each.new_image,
                "promotedFrom": each.promoted_from,
            }
            for each in row.services
        ],
        "problem": row.problem,
    }
