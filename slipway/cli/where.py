"""`slipway where`: which image of each service runs in each environment, and by which commits one is ahead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from slipway import project as projects
from slipway.cli.history import digest
from slipway.cli.promote import commit_line
from slipway.deploy.work_tree import DIRTY
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.promotion.where import Ahead, RunningImage, UnreadableEnvironment, ahead, build_paths, running_images
from slipway.render.tables import print_table
from slipway.render.words import COMMIT_DIGITS, counted
from slipway.stack import open_stack

HEADINGS = ("service", "environment", "digest", "commit", "since", "update", "promoted from")
COMMITS_SHOWN = 10
NOTHING = "-"
UNITS = (("day", 86_400), ("h", 3_600), ("min", 60))


def where(*, service: str | None, json_output: bool) -> int:
    """Print a line for each service in each environment, and what is ahead; returns the exit code."""
    project = projects.require(Path.cwd())
    images: list[RunningImage] = []
    unknown: list[UnreadableEnvironment] = []
    for name in project.environments():
        stack = open_stack(name, cluster=False)
        try:
            found = running_images(stack)
        except SlipwayError as error:
            unknown.append(UnreadableEnvironment(name, " ".join(f"{error.what} {error.why}".split())))
            continue
        images += found
        if not found:
            unknown.append(UnreadableEnvironment(name, "It was never updated, or has no service."))
    images.sort(key=lambda each: each.service)
    if service is not None:
        images = _of(service, images)
    leads = ahead(images, project.folder, build_paths(project.folder))
    if json_output:
        typer.echo(json.dumps(shape(images, leads, unknown), indent=2, ensure_ascii=False))
        return ExitCode.DONE
    if images:
        print_table(HEADINGS, [cells(each) for each in images], right=("update",), below=("promoted from", "commit"))
    for line in [*lines(images, leads), *(f"{each.environment}: {each.reason}" for each in unknown)]:
        typer.echo(line)
    return ExitCode.DONE


def _of(service: str, images: Sequence[RunningImage]) -> list[RunningImage]:
    known = sorted({each.service for each in images})
    if service not in known:
        near = difflib.get_close_matches(service, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigurationError(
            f"No environment runs a service {service}.",
            why=f"Services that run: {', '.join(known) or 'none'}.{hint}",
            next_step="Name one of them, or none for all.",
        )
    return [each for each in images if each.service == service]


def cells(image: RunningImage) -> Sequence[str]:
    return (
        image.service,
        image.environment,
        digest(image.image) or NOTHING,
        f"{image.commit[:COMMIT_DIGITS]}{DIRTY if image.dirty else ''}" or NOTHING,
        age_text((datetime.now(UTC) - image.since).total_seconds()),
        f"#{image.update}",
        str(image.promoted_from or NOTHING),
    )


def age_text(seconds: float) -> str:
    """`3 days`, `2 h`, `5 min`, in the largest unit that fits at least once."""
    for unit, length in UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if unit == 'day' and number > 1 else ''}"
    return "now"


def lines(images: Sequence[RunningImage], leads: Sequence[Ahead]) -> list[str]:
    """Which environments are ahead, by which commits, and which promoted digests wait for an update."""
    text = []
    for each in leads:
        if each.commits is None:
            text.append(
                f"{each.service}: {each.environment} has another image than {each.behind}; not all commits between "
                "them are in this clone: `git fetch`"
            )
            continue
        number = counted(len(each.commits), "commit") if each.commits else "no commit of its own, another base image"
        text.append(f"{each.service}: {each.environment} is ahead of {each.behind} by {number}")
        text += [f"  {commit_line(commit)}" for commit in each.commits[:COMMITS_SHOWN]]
        if len(each.commits) > COMMITS_SHOWN:
            text.append(f"  and {len(each.commits) - COMMITS_SHOWN} more")
    text += [
        f"{each.service}: Pulumi.{each.environment}.yaml has {digest(f'@{each.waiting.digest}')}, of update "
        f"{each.waiting}: `slipway up -s {each.environment}` deploys it"
        for each in images
        if each.waiting
    ]
    return text


def shape(
    images: Sequence[RunningImage], leads: Sequence[Ahead], unknown: Sequence[UnreadableEnvironment]
) -> dict[str, Any]:
    """The JSON that docs/environments.md describes."""
    now = datetime.now(UTC)
    return {
        "images": [
            {
                "service": each.service,
                "environment": each.environment,
                "image": each.image,
                "digest": each.digest,
                "commit": each.commit,
                "dirty": each.dirty,
                "update": each.update,
                "since": each.since.isoformat(),
                "ageSeconds": round((now - each.since).total_seconds()),
                "promotedFrom": each.promoted_from and each.promoted_from.properties()["promotedFrom"],
                "waiting": each.waiting and each.waiting.digest,
            }
            for each in images
        ],
        "ahead": [
            {
                "service": each.service,
                "environment": each.environment,
                "behind": each.behind,
                "commits": None
                if each.commits is None
                else [
                    {"commit": commit.commit, "subject": commit.subject, "takenBack": commit.reverted}
                    for commit in each.commits
                ],
            }
            for each in leads
        ],
        "unknown": [{"environment": each.environment, "reason": each.reason} for each in unknown],
    }
