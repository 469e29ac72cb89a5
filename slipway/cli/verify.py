"""`slipway verify`: whether every service of an environment runs what its state says, and meets its checks, now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from slipway.cluster.verification import ServiceVerdict, verdicts_of
from slipway.errors import ExitCode
from slipway.render.words import counted
from slipway.stack import open_stack


def verify(*, name: str, json_output: bool) -> int:
    """Print a line for each service; returns 0 if all of them work, else 1."""
    stack = open_stack(name, cluster=False)
    verdicts = verdicts_of(stack.deployed())
    failed, services = sum(bool(each.problems) for each in verdicts), _counted(verdicts)
    if json_output:
        typer.echo(json.dumps(shape(stack.name, verdicts), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(line for each in verdicts for line in lines(each)))
        result = f"{failed} of {services} failed" if failed else f"{services} as recorded, every check met"
        typer.echo(f"{stack}: {result}.")
    return ExitCode.FAILED if failed else ExitCode.DONE


def _counted(verdicts: Sequence[ServiceVerdict]) -> str:
    """`2 services and 1 object`: an object of no service has no pods, images or checks of its own."""
    objects = sum(" " in each.service for each in verdicts)
    services = counted(len(verdicts) - objects, "service")
    return f"{services} and {counted(objects, 'object')}" if objects else services


def lines(found: ServiceVerdict) -> list[str]:
    """One line if all is well, else one line for each problem."""
    if not found.problems:
        images = ", ".join(_short(image) for image in found.images)
        checks = f"{counted(found.checks, 'check')} met" if found.checks else "no checks"
        if found.about:
            return [f"{found.service}: ok, {found.about}, on {images}"]
        return [f"{found.service}: ok, {found.pods_available}/{found.pods_wanted} pods on {images}, {checks}"]
    first, *more = found.problems
    return [f"{found.service}: failed, {first}", *(f"{' ' * len(found.service)}  and {each}" for each in more)]


def _short(image: str) -> str:
    name, found, digest = image.partition("@sha256:")
    return f"{digest[:8]}" if found else name


def shape(stack: str, verdicts: Sequence[ServiceVerdict]) -> dict[str, Any]:
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
