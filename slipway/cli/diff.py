"""`slipway diff`: what changed between two recorded states of an environment, service by service."""

from __future__ import annotations

import json
from typing import Any

import typer

from slipway.deploy.drift import opened
from slipway.errors import ExitCode, SlipwayError
from slipway.render.markdown_text import clean
from slipway.render.service_changes import OUTSIDE, by_service
from slipway.render.words import counted, short_path, value_texts
from slipway.stack import Stack, open_stack
from slipway.state.difference import Difference, FieldChange, Operation, ResourceChange, difference

SIGNS = {Operation.CREATE: "+", Operation.DELETE: "-", Operation.UPDATE: "~"}
WORDS = {Operation.CREATE: "added", Operation.UPDATE: "changed", Operation.DELETE: "removed"}
NOTHING = "-"


def diff(*, name: str, old: int, new: int | None, json_output: bool) -> int:
    """Print what changed from update `old` to `new` (`None`: the present state); returns the exit code."""
    stack = open_stack(name, cluster=False)
    found = between(stack, old, new)
    if json_output:
        typer.echo(json.dumps(shape(found, old, new), indent=2, ensure_ascii=False))
    else:
        to = "the present state" if new is None else f"#{new}"
        typer.echo("\n".join(lines(found, f"{stack} from #{old} to {to}")))
    return ExitCode.DONE


def between(stack: Stack, old: int, new: int | None) -> Difference:
    """The difference; SlipwayError if an update does not exist or its state cannot be read."""
    history = stack.history()
    before = history.checkpoint(old)
    after = history.present() if new is None else history.checkpoint(new)
    if after is None:
        raise SlipwayError(f"There is no stack {stack} now.", next_step=f"Name the update to compare #{old} with.")
    return difference(*opened(stack, [before, after], to_stderr))


def to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def lines(found: Difference, title: str) -> list[str]:
    if not found:
        return [f"{title}: no difference."]
    text = []
    for service, changes in by_service(found.changes):
        text.append(service or OUTSIDE)
        for change in changes:
            text.append(f"  {SIGNS[change.operation]} {change.resource}")
            text += [f"      {field_text(field)}" for field in change.fields]
    return [*text, f"{title}: {_counts(found)}."]


def field_text(field: FieldChange) -> str:
    """`spec.replicas: 1 → 2`."""
    old, new = (" ".join(clean(text).split()) for text in value_texts(field))
    return f"{short_path(field.path)}: {old or NOTHING} → {new or NOTHING}"


def _counts(found: Difference) -> str:
    numbers = {operation: sum(change.operation is operation for change in found.changes) for operation in WORDS}
    counts = ", ".join(f"{number} {WORDS[operation]}" for operation, number in numbers.items() if number)
    return f"{counted(len(found.changes), 'resource')} differ{'s' if len(found.changes) == 1 else ''}: {counts}"


def shape(found: Difference, old: int, new: int | None) -> dict[str, Any]:
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
