"""`slipway drift`: what the cluster has that the state does not say; exits with 6 where there is any."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import typer

from slipway.cli.diff import OUTSIDE, SIGNS, change_shape, field_text, opened
from slipway.cluster.deployed import Deployed
from slipway.cluster.drift import Drift
from slipway.cluster.drift import find as find_drift
from slipway.errors import ExitCode
from slipway.render.groups import by_service
from slipway.render.words import counted
from slipway.stack import Stack, open_stack
from slipway.state.changes import Operation

NOTES = {Operation.CREATE: "in the cluster, not in the state", Operation.DELETE: "gone from the cluster"}
WORDS = {Operation.CREATE: "not in the state", Operation.UPDATE: "changed", Operation.DELETE: "gone"}


def drift(*, name: str, json_output: bool) -> int:
    """Print where the cluster differs from the state of `stack`; the exit code."""
    stack = open_stack(name, cluster=False)
    found = find(stack, stack.deployed())
    if json_output:
        typer.echo(json.dumps(shape(stack.name, found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(lines(stack.name, found)))
    return ExitCode.DRIFT if found.changes else ExitCode.DONE


def find(stack: Stack, deployed: Deployed) -> Drift:
    """Where the cluster differs from the state that is `deployed`; SlipwayError where it does not answer."""
    (state,) = opened(stack, deployed.state)
    return find_drift(replace(deployed, state=state), stack.project.name)


def lines(stack: str, found: Drift) -> list[str]:
    if not found.changes:
        return [f"{stack}: no drift."]
    told = []
    for service, changes in by_service(found.changes):
        told.append(service or OUTSIDE)
        for change in changes:
            by = ", ".join(found.changed_by.get(change.resource.urn, ()))
            note = NOTES.get(change.operation, f"changed by {by}" if by else "")
            told.append(f"  {SIGNS[change.operation]} {change.resource}{f', {note}' if note else ''}")
            told += [f"      {field_text(field)}" for field in change.fields]
    numbers = {operation: sum(change.operation is operation for change in found.changes) for operation in WORDS}
    counts = ", ".join(f"{number} {WORDS[operation]}" for operation, number in numbers.items() if number)
    back = f"To take it back: `slipway up -s {stack} --refresh`; what is not in the state stays."
    return [*told, f"{stack}: {counted(len(found.changes), 'object')} drifted from the state: {counts}.", back]


def shape(stack: str, found: Drift) -> dict[str, Any]:
    """The JSON that docs/history.md describes."""
    return {
        "stack": stack,
        "secretsCompared": found.difference.secrets_compared,
        "drift": [
            {
                **change_shape(change),
                "service": change.service,
                "operation": WORDS[change.operation],
                "changedBy": list(found.changed_by.get(change.resource.urn, ())),
            }
            for change in found.changes
        ],
    }
