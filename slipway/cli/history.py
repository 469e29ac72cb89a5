"""`slipway history`, `diff`, `drift` and `verify`: what each update changed, and whether the cluster is as recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.text import Text

from slipway.backend import History, UpdateInfo
from slipway.backend.services import RecordedServices, ServiceChange
from slipway.cluster.drift import Drift
from slipway.cluster.verification import ServiceVerdict, verdicts_of
from slipway.deploy.drift import find_drift, opened
from slipway.deploy.work_tree import DIRTY
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress, elapsed_text, print_table
from slipway.render.markdown_text import clean, some_of
from slipway.render.service_changes import OUTSIDE, by_service
from slipway.render.terminal import DRIFT_WORDS, drift_lines
from slipway.render.words import COMMIT_DIGITS, counted, repository, short_path, value_texts
from slipway.stack import open_stack
from slipway.state.difference import Difference, FieldChange, Operation, ResourceChange, difference

HISTORY_HEADINGS = ("#", "time", "who", "commit", "kind", "result", "services changed", "took")
# Columns that move under their row on a narrow terminal.
BELOW = ("services changed", "who", "kind")
DIGEST_DIGITS = 8
NAMED = 4
# Reading more states than this takes so long that a person wants to see progress.
MANY_STATES = 50
NOTHING = "-"
DIGEST = "sha256:"
SIGNS = {Operation.CREATE: "+", Operation.DELETE: "-", Operation.UPDATE: "~"}
WORDS = {Operation.CREATE: "added", Operation.UPDATE: "changed", Operation.DELETE: "removed"}


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


def diff(*, name: str, old: int, new: int | None, json_output: bool) -> int:
    """Print what changed from update `old` to `new` (`None`: the present state); returns the exit code.

    SlipwayError if an update does not exist or its state cannot be read.
    """
    stack = open_stack(name, cluster=False)
    recorded = stack.history()
    before = recorded.checkpoint(old)
    after = recorded.present() if new is None else recorded.checkpoint(new)
    if after is None:
        raise SlipwayError(f"There is no stack {stack} now.", next_step=f"Name the update to compare #{old} with.")
    found = difference(*opened(stack, [before, after], to_stderr))
    if json_output:
        typer.echo(json.dumps(difference_shape(found, old, new), indent=2, ensure_ascii=False))
    else:
        to = "the present state" if new is None else f"#{new}"
        typer.echo("\n".join(difference_lines(found, f"{stack} from #{old} to {to}")))
    return ExitCode.DONE


def to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def difference_lines(found: Difference, title: str) -> list[str]:
    if not found:
        return [f"{title}: no difference."]
    text = []
    for service, changes in by_service(found.changes):
        text.append(service or OUTSIDE)
        for change in changes:
            text.append(f"  {SIGNS[change.operation]} {change.resource}")
            text += [f"      {field_text(field)}" for field in change.fields]
    numbers = {operation: sum(change.operation is operation for change in found.changes) for operation in WORDS}
    counts = ", ".join(f"{number} {WORDS[operation]}" for operation, number in numbers.items() if number)
    differing = f"{counted(len(found.changes), 'resource')} differ{'s' if len(found.changes) == 1 else ''}"
    return [*text, f"{title}: {differing}: {counts}."]


def field_text(field: FieldChange) -> str:
    """`spec.replicas: 1 → 2`."""
    old, new = (" ".join(clean(text).split()) for text in value_texts(field))
    return f"{short_path(field.path)}: {old or NOTHING} → {new or NOTHING}"


def difference_shape(found: Difference, old: int, new: int | None) -> dict[str, Any]:
    """The JSON that docs/history.md describes; it never contains a secret."""
    return {
        "from": old,
        "to": new,
        "secretsCompared": found.secrets_compared,
        "services": [
            {"service": service, "changes": [change_shape(change) for change in changes]}
            for service, changes in by_service(found.changes)
        ],
    }


def change_shape(change: ResourceChange) -> dict[str, Any]:
    resource = change.resource
    fields = [{"path": each.path, "kind": each.kind, "old": each.old, "new": each.new} for each in change.fields]
    operation = WORDS[change.operation]
    return {
        "urn": resource.urn, "type": resource.type, "name": resource.name, "operation": operation, "fields": fields
    }  # fmt: skip


def drift(*, name: str, json_output: bool) -> int:
    """Print where the cluster differs from the state of stack `name`; returns the exit code."""
    stack = open_stack(name, cluster=False)
    found = find_drift(stack, stack.deployed(), to_stderr)
    if json_output:
        typer.echo(json.dumps(drift_shape(stack.name, found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(drift_lines(stack.name, found.changes, found.changed_by)))
    return ExitCode.DRIFT if found.changes else ExitCode.DONE


def drift_shape(stack: str, found: Drift) -> dict[str, Any]:
    """The JSON that docs/history.md describes."""
    return {
        "stack": stack,
        "secretsCompared": found.difference.secrets_compared,
        "drift": [
            {
                **change_shape(change),
                "service": change.service,
                "operation": DRIFT_WORDS[change.operation],
                "changedBy": list(found.changed_by.get(change.resource.urn, ())),
            }
            for change in found.changes
        ],
    }


def verify(*, name: str, json_output: bool) -> int:
    """Print a line for each service; returns 0 if all of them work, else 1."""
    stack = open_stack(name, cluster=False)
    verdicts = verdicts_of(stack.deployed())
    failed = sum(bool(each.problems) for each in verdicts)
    # An object of no service has no pods, images or checks of its own.
    objects = sum(" " in each.service for each in verdicts)
    services = counted(len(verdicts) - objects, "service")
    if objects:
        services += f" and {counted(objects, 'object')}"
    if json_output:
        typer.echo(json.dumps(verdicts_shape(stack.name, verdicts), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(line for each in verdicts for line in verdict_lines(each)))
        result = f"{failed} of {services} failed" if failed else f"{services} as recorded, every check met"
        typer.echo(f"{stack}: {result}.")
    return ExitCode.FAILED if failed else ExitCode.DONE


def verdict_lines(found: ServiceVerdict) -> list[str]:
    """One line if all is well, else one line for each problem."""
    if not found.problems:
        parts = (image.partition("@sha256:") for image in found.images)
        images = ", ".join(digest[:DIGEST_DIGITS] if at else name for name, at, digest in parts)
        checks = f"{counted(found.checks, 'check')} met" if found.checks else "no checks"
        if found.about:
            return [f"{found.service}: ok, {found.about}, on {images}"]
        return [f"{found.service}: ok, {found.pods_available}/{found.pods_wanted} pods on {images}, {checks}"]
    first, *more = found.problems
    return [f"{found.service}: failed, {first}", *(f"{' ' * len(found.service)}  and {each}" for each in more)]


def verdicts_shape(stack: str, verdicts: Sequence[ServiceVerdict]) -> dict[str, Any]:
    """The JSON that docs/history.md describes."""
    return {
        "stack": stack,
        "ok": not any(each.problems for each in verdicts),
        "services": [
            {
                "service": each.service,
                "namespace": each.namespace,
                "ok": not each.problems,
                "pods": {"wanted": each.pods_wanted, "available": each.pods_available},
                "images": list(each.images),
                "checks": each.checks,
                "about": each.about,
                "problems": list(each.problems),
            }
            for each in verdicts
        ],
    }
