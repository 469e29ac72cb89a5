"""`slipway diff`, `drift` and `verify`: how two recorded states, or the cluster and its state, differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from slipway.cli.output import to_stderr
from slipway.cluster.drift import Drift
from slipway.cluster.verification import ServiceVerdict, verdicts_of
from slipway.deploy.drift import find_drift, opened
from slipway.errors import ExitCode, SlipwayError
from slipway.render.markdown_text import clean
from slipway.render.service_changes import OUTSIDE, by_service
from slipway.render.terminal import DRIFT_WORDS, drift_lines
from slipway.render.words import DIGEST_DIGITS, counted, short_path, value_texts
from slipway.stack import open_stack
from slipway.state.difference import Difference, FieldChange, Operation, ResourceChange, difference

NOTHING = "-"
SIGNS = {Operation.CREATE: "+", Operation.DELETE: "-", Operation.UPDATE: "~"}
WORDS = {Operation.CREATE: "added", Operation.UPDATE: "changed", Operation.DELETE: "removed"}


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
