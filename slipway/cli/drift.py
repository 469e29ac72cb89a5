"""`slipway drift`: shows where the cluster differs from the state; exits with 6 if it does."""

from __future__ import annotations

import json
from typing import Any

import typer

from slipway.cli.diff import change_shape, to_stderr
from slipway.cluster.drift import Drift
from slipway.deploy.drift import find_drift
from slipway.errors import ExitCode
from slipway.render.terminal import DRIFT_WORDS, drift_lines
from slipway.stack import open_stack


def drift(*, name: str, json_output: bool) -> int:
    """Print where the cluster differs from the state of stack `name`; returns the exit code."""
    stack = open_stack(name, cluster=False)
    found = find_drift(stack, stack.deployed(), to_stderr)
    if json_output:
        typer.echo(json.dumps(shape(stack.name, found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(drift_lines(stack.name, found.changes, found.changed_by)))
    return ExitCode.DRIFT if found.changes else ExitCode.DONE


def shape(stack: str, found: Drift) -> dict[str, Any]:
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
