"""What a temporary environment has: its name, tags, a pull request's comment, settings that git does not track."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slipway.deploy.work_tree import git_output, uncommitted
from slipway.errors import ConfigurationError, SlipwayError
from slipway.project import Project
from slipway.render.markdown_text import fence

LIKE_TAG, EXPIRES_TAG = "slipway:like", "slipway:expires"
HEADER = "# Made by `slipway up --like"
# `slipway-` precedes it in the name of the namespace: a DNS label of at most 63 characters.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?", re.ASCII)
DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,5})(?P<unit>[mhdw])", re.ASCII)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=365)


@dataclass(frozen=True)
class Temporary:
    """The environment that it is made like, and when `slipway reap` may take it down; `None` for never."""

    like: str
    expires: datetime | None = None

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> Temporary | None:
        """`None` for a stack that was not made with `--like`; raises ValueError for a time that cannot be read."""
        if LIKE_TAG not in tags:
            return None
        expires = tags.get(EXPIRES_TAG)
        return cls(tags[LIKE_TAG], datetime.fromisoformat(expires).astimezone(UTC) if expires else None)

    def tags(self) -> dict[str, str]:
        expires = {EXPIRES_TAG: f"{self.expires:%Y-%m-%dT%H:%M:%SZ}"} if self.expires else {}
        return {LIKE_TAG: self.like, **expires}

    def has_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now

    def until(self) -> str:
        """The expiry as text for the user."""
        return f"until {self.expires:%Y-%m-%d %H:%M} UTC" if self.expires else "until it is taken down"


def parse_duration(text: str) -> timedelta:
    """`90m`, `12h`, `3d` or `2w`; raises ConfigurationError for anything else, and for more than a year."""
    found = DURATION.fullmatch(text)
    duration = int(found["count"]) * UNITS[found["unit"]] if found else timedelta()
    if not timedelta() < duration <= LONGEST:
        raise ConfigurationError(
            f"--expires is {text!r}.",
            why="Allowed: a number of minutes, hours, days or weeks, at most a year: 90m, 12h, 3d, 2w.",
            next_step="For example: --expires 3d",
        )
    return duration


def require_name(name: str) -> None:
    """Raise ConfigurationError for an invalid name: the environment's namespace and hosts contain it."""
    if NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"No environment called {name!r} can be made with --like.",
            why="Allowed: lower-case letters, digits and '-', none at an end, at most 55 characters; its namespace is "
            "slipway-NAME.",
            next_step="For example: -s pr-123",
        )


def is_declared(project: Project, name: str) -> bool:
    """Whether the settings of the environment belong to the repository: git tracks them, or a person wrote them.

    Raises ConfigurationError if there is a repository that git does not read.
    """
    uncommitted(project.folder)
    file = f"Pulumi.{name}.yaml"
    if git_output(project.folder, "ls-files", "--", file) or git_output(
        project.folder, "ls-tree", "--name-only", "HEAD", "--", file
    ):
        return True
    settings = project.folder / file
    return settings.is_file() and not is_generated(settings)


def is_generated(settings: Path) -> bool:
    return settings.is_file() and settings.read_text(encoding="utf-8", errors="replace").startswith(HEADER)


def exclude_from_git(folder: Path, name: str) -> None:
    """Make git ignore the settings of `name`, in this clone only."""
    rule, exclude = _rule(folder, name), _exclude_file(folder)
    if exclude is None:
        return
    existing = exclude.read_text(encoding="utf-8") if exclude.exists() else ""
    if rule not in existing.splitlines():
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text(f"{existing.rstrip()}\n{rule}\n".lstrip(), encoding="utf-8")


def include_in_git(folder: Path, name: str) -> None:
    """Undo `exclude_from_git`."""
    rule, exclude = _rule(folder, name), _exclude_file(folder)
    if exclude and exclude.exists():
        lines = exclude.read_text(encoding="utf-8").splitlines(keepends=True)
        if any(line.rstrip("\n") == rule for line in lines):
            exclude.write_text("".join(line for line in lines if line.rstrip("\n") != rule), encoding="utf-8")


def _rule(folder: Path, name: str) -> str:
    return f"/{git_output(folder, 'rev-parse', '--show-prefix')}Pulumi.{name}.yaml"


def _exclude_file(folder: Path) -> Path | None:
    found = git_output(folder, "rev-parse", "--git-path", "info/exclude")
    return folder / found if found else None


def comment_marker(project: str, name: str) -> str:
    """The hidden line by which `slipway comment` finds the comment again."""
    return f"<!-- slipway:preview:{project}:{name} -->\n\n"


def running_comment(project: str, name: str, temporary: Temporary, services: Mapping[str, Any]) -> str:
    """The comment on a running one; `services` is the stack's output: by name, `url` and `image`."""
    rows = [f"| `{service}` | {each.get('url', '')} |" for service, each in sorted(services.items())]
    return comment_marker(project, name) + "\n".join(
        [
            f"## ✅ `{name}` is up",
            "",
            "| service | answers at |",
            "| --- | --- |",
            *rows,
            "",
            f"Like `{temporary.like}`, {temporary.until()}. Every push updates it; closing the pull request takes it "
            "down.",
            "",
        ]
    )


def failed_comment(project: str, name: str, error: SlipwayError) -> str:
    return comment_marker(project, name) + f"## ❌ `{name}` was not updated\n\n{fence(str(error))}\n"


def taken_down_comment(project: str, name: str) -> str:
    return comment_marker(project, name) + f"## `{name}` was taken down\n"


def require_writable(file: Path) -> None:
    """Raise ConfigurationError if the file's folder does not exist, before any other work."""
    if not file.absolute().parent.is_dir():
        raise ConfigurationError(
            f"--markdown {file} cannot be written.", why=f"There is no folder {file.parent}.", next_step="Make it."
        )
