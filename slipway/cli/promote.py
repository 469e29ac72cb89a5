"""`slipway promote` and `where`: promotes verified digests to another environment, and shows which run where."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from slipway import project as projects
from slipway.cli.history import short_digest
from slipway.cli.output import to_stderr
from slipway.cli.preview import Files, preview
from slipway.deploy.work_tree import DIRTY
from slipway.environments.temporary import is_declared, is_generated
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.github import API_URL, GitHub, token_of
from slipway.progress import print_table
from slipway.promotion.plan import ImageMove, PromotionPlan, copy_image, first_digits, plan_promotion
from slipway.promotion.pull_request import ProposedChange, open_pull_request, path_in_repository, repository_of
from slipway.promotion.settings_file import SettingsFile, only_promotion
from slipway.promotion.where import (
    Ahead,
    RunningImage,
    ServiceCommit,
    UnreadableEnvironment,
    ahead,
    build_paths,
    commits_between,
    running_images,
)
from slipway.render.markdown_text import clean, fence
from slipway.render.words import COMMIT_DIGITS, DIGEST_DIGITS, counted
from slipway.stack import open_stack

MOVE_COMMITS_SHOWN = 20
NOTHING = "-"
WHERE_HEADINGS = ("service", "environment", "digest", "commit", "since", "update", "promoted from")
LEAD_COMMITS_SHOWN = 10
AGE_UNITS = (("day", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True)
class PromoteOptions:
    """What to promote: services (none given: all), and an update (none given: the last verified one)."""

    services: tuple[str, ...] = ()
    to_update: int | None = None
    pull_request: bool = False


def promote(*, source: str, target: str, options: PromoteOptions) -> int:
    """Write the digests into the settings of `target` and print what has changed; returns the exit code."""
    if source == target:
        raise ConfigurationError(
            f"--from and --to are both {source}.", next_step="Name the target environment with --to."
        )
    project = projects.require(Path.cwd())
    if is_generated(project.folder / f"Pulumi.{source}.yaml") and not is_declared(project, source):
        raise ConfigurationError(
            f"{source} is a temporary environment, which cannot be promoted from.",
            why="Its history, which records builds and tests, is deleted with it.",
            next_step="Merge its changes, and promote from the environment that then builds them.",
        )
    token = token_of(os.environ) if options.pull_request else ""
    from_stack, to_stack = open_stack(source, cluster=False), open_stack(target, cluster=False)
    folder = from_stack.project.folder
    repository = repository_of(folder, os.environ) if options.pull_request else ""
    with only_promotion(folder):
        settings = SettingsFile.read(folder / f"Pulumi.{target}.yaml")
        plan = plan_promotion(from_stack, to_stack, settings, options.services, options.to_update)
        summary = promotion_lines(plan, folder)
        typer.echo("\n".join(summary))
        if not plan.moves:
            return ExitCode.DONE
        text = settings.with_images(plan.images)
        for image in plan.copies:  # before the file names it
            copy_image(image, to_stack.engine.environment, typer.echo)
        settings.write(text)
        typer.echo("\n".join(difference(settings, text)))
        if options.pull_request:
            try:
                body = _body(plan, summary)
                with GitHub(token, os.environ.get("GITHUB_API_URL") or API_URL, say=to_stderr) as github:
                    url = open_pull_request(github, repository, _proposed(plan, settings, body))
            finally:  # only the pull request has the change
                SettingsFile.of_text(settings.file, text).write(settings.text)
            proposed = f"Opened {url}" if url else "This promotion was proposed already"
            typer.echo(f"{proposed} (branch {_branch(plan)}); the local {settings.file.name} is unchanged.")
            return ExitCode.DONE
    typer.echo(
        f"Next: git commit -m '{message(plan)}' -- {settings.file.name}\n"
        f"      slipway preview -s {target}, and slipway up -s {target}"
    )
    return ExitCode.DONE


def _body(plan: PromotionPlan, summary: Sequence[str]) -> str:
    """The text of the pull request: what is promoted, and what an update of the environment would do."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "preview.md"
        preview(stack=plan.target, files=Files(markdown=file), drift=False)
        previewed = file.read_text(encoding="utf-8")
    return fence("\n".join(summary)) + "\n" + previewed


def _proposed(plan: PromotionPlan, settings: SettingsFile, body: str) -> ProposedChange:
    def edit(text: str) -> str:
        there = SettingsFile.of_text(settings.file, text)
        if there.images != settings.images:
            raise ConfigurationError(
                f"{settings.file.name} on GitHub has other images than the local file.",
                next_step="Bring this clone up to date with `git pull`, then promote again.",
            )
        return there.with_images(plan.images)

    path = path_in_repository(settings.file.parent, settings.file.name)
    return ProposedChange(path, edit, _branch(plan), message(plan), body)


def _branch(plan: PromotionPlan) -> str:
    """The branch, the same for the same digests from any update: they are proposed once."""
    digests = sorted(f"{service} {each.digest}" for service, each in plan.images.items())
    return f"promote-to-{plan.target}-{hashlib.sha256(' '.join(digests).encode()).hexdigest()[:DIGEST_DIGITS]}"


def message(plan: PromotionPlan) -> str:
    """The subject of the commit."""
    return f"Promote #{plan.update.number} of {plan.source} to {plan.target}"


def promotion_lines(plan: PromotionPlan, folder: Path) -> list[str]:
    """The promoted services, with the commits of each between its old and its new digest."""
    at = f"{plan.update.started.astimezone():%Y-%m-%d %H:%M}"
    by = f", by {clean(plan.update.author)}" if plan.update.author else ""
    commit = f", commit {plan.update.commit[:COMMIT_DIGITS]}" if plan.update.commit else ""
    head = f"{plan.target} from #{plan.update.number} of {plan.source}, {at}{by}{commit}"
    if not plan.moves:
        return [f"{head}: nothing to promote, every digest is there already.", *plan.notes]
    paths = build_paths(folder)
    text = [f"{head}:"]
    for move in plan.moves:
        old = first_digits(move.old.digest) if move.old else NOTHING
        text.append(f"  {move.service} {old} → {first_digits(move.new.digest)}")
        text += [f"    {line}" for line in _commits(move, folder, paths.get(move.service, ()))]
    return [*text, *plan.notes]


def _commits(move: ImageMove, folder: Path, paths: Sequence[Path]) -> Iterator[str]:
    if move.old is None:
        yield f"its first digest here, commit {move.new.commit[:COMMIT_DIGITS]}"
        return
    found = commits_between(folder, move.old.commit, move.new.commit, paths)
    if found is None:
        old, new = move.old.commit[:COMMIT_DIGITS], move.new.commit[:COMMIT_DIGITS]
        yield f"commits {old} to {new}, which are not all in this clone: `git fetch`"
        return
    yield from map(commit_line, found[:MOVE_COMMITS_SHOWN])
    if len(found) > MOVE_COMMITS_SHOWN:
        yield f"and {len(found) - MOVE_COMMITS_SHOWN} more"
    if not found:
        yield f"no commit of its own; another base image, or a setting of the build: {move.new.commit[:COMMIT_DIGITS]}"


def commit_line(commit: ServiceCommit) -> str:
    taken_back = "reverted: " if commit.reverted else ""
    return f"{taken_back}{commit.commit[:COMMIT_DIGITS]} {clean(commit.subject)}"


def difference(settings: SettingsFile, text: str) -> list[str]:
    """The changed lines of the file, as `git diff` shows them."""
    name = settings.file.name
    old, new = settings.text.splitlines(), text.splitlines()
    return [line.rstrip("\n") for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="")]


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
        images = _of_service(service, images)
    leads = ahead(images, project.folder, build_paths(project.folder))
    if json_output:
        typer.echo(json.dumps(where_shape(images, leads, unknown), indent=2, ensure_ascii=False))
        return ExitCode.DONE
    if images:
        print_table(
            WHERE_HEADINGS, [image_cells(each) for each in images], right=("update",), below=("promoted from", "commit")
        )
    for line in [*lead_lines(images, leads), *(f"{each.environment}: {each.reason}" for each in unknown)]:
        typer.echo(line)
    return ExitCode.DONE


def _of_service(service: str, images: Sequence[RunningImage]) -> list[RunningImage]:
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


def image_cells(image: RunningImage) -> Sequence[str]:
    return (
        image.service,
        image.environment,
        short_digest(image.image) or NOTHING,
        f"{image.commit[:COMMIT_DIGITS]}{DIRTY if image.dirty else ''}" or NOTHING,
        age_text((datetime.now(UTC) - image.since).total_seconds()),
        f"#{image.update}",
        str(image.promoted_from or NOTHING),
    )


def age_text(seconds: float) -> str:
    """`3 days`, `2 h`, `5 min`, in the largest unit that fits at least once."""
    for unit, length in AGE_UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if unit == 'day' and number > 1 else ''}"
    return "now"


def lead_lines(images: Sequence[RunningImage], leads: Sequence[Ahead]) -> list[str]:
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
        text += [f"  {commit_line(commit)}" for commit in each.commits[:LEAD_COMMITS_SHOWN]]
        if len(each.commits) > LEAD_COMMITS_SHOWN:
            text.append(f"  and {len(each.commits) - LEAD_COMMITS_SHOWN} more")
    text += [
        f"{each.service}: Pulumi.{each.environment}.yaml has {first_digits(each.waiting.digest)}, of update "
        f"{each.waiting}: `slipway up -s {each.environment}` deploys it"
        for each in images
        if each.waiting
    ]
    return text


def where_shape(
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
