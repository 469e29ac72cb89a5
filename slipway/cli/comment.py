"""`slipway comment`: writes a preview's Markdown to a pull request, always into one comment per environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from slipway.cli.output import to_stderr
from slipway.errors import ConfigurationError, ExitCode
from slipway.github import API_URL, LONGEST_BODY, GitHub, RefusedError, TransientError, token_of
from slipway.render.markdown import MARKER

ACTIONS_BOT = "github-actions[bot]"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


def comment(*, repo: str, pr: int, file: Path) -> int:
    """Create the comment with the marker of `file`, or update it; returns the exit code."""
    if not REPOSITORY.fullmatch(repo):
        raise ConfigurationError(
            f"--repo is {repo!r}; it must be OWNER/NAME.", next_step="For example: --repo acme/shop"
        )
    if pr < 1:
        raise ConfigurationError(f"--pr is {pr}; it must be the number of a pull request.")
    target, body = Target(repo, pr), _body(file)
    with GitHub(token_of(os.environ), os.environ.get("GITHUB_API_URL") or API_URL, say=to_stderr) as github:
        done, url = upsert(github, target, body)
    typer.echo(f"{done}: {url}")
    return ExitCode.DONE


@dataclass(frozen=True)
class Target:
    """A pull request."""

    repository: str
    number: int

    @property
    def comments(self) -> str:
        return f"repos/{self.repository}/issues/{self.number}/comments"

    def comment(self, identifier: int) -> str:
        return f"repos/{self.repository}/issues/comments/{identifier}"


def upsert(github: GitHub, target: Target, body: str) -> tuple[str, str]:
    """Create or update the comment; returns what was done (`created`, `updated`, `unchanged`) and its address.

    If the answer to a creation is lost, the comment is searched for before a retry, so that no second one is created.
    """
    marker = _marker(body)
    author = Author.of(github)
    attempt = 0
    while True:
        for found in github.pages(target.comments):  # oldest first
            # Another author's comment with the marker is ignored.
            is_own = author.wrote(found) and str(found.get("body") or "").lstrip().startswith(marker)
            if is_own and (outcome := _update(github, target, found, body)):
                return outcome
        try:
            created = github.post(target.comments, {"body": body})
        except TransientError as error:
            attempt += 1
            github.pause(attempt, str(error))
        else:
            return "created", str(created.get("html_url", ""))


def _update(github: GitHub, target: Target, found: dict[str, Any], body: str) -> tuple[str, str] | None:
    """`None` if the comment was deleted in the meantime, or belongs to another bot."""
    url = str(found.get("html_url", ""))
    # GitHub returns line ends as browsers write them.
    if str(found.get("body", "")).replace("\r\n", "\n").strip() == body.strip():
        return "unchanged", url
    try:
        github.patch(target.comment(found["id"]), {"body": body})
    except RefusedError as error:
        if error.status == 404 or (error.status == 403 and _login(found) != ACTIONS_BOT and _is_bot(found)):
            return None
        raise
    return "updated", url


@dataclass(frozen=True)
class Author:
    """The user of our token. A GitHub App's token, such as that of Actions, may not read it: then any bot may be us."""

    login: str = ""

    @classmethod
    def of(cls, github: GitHub) -> Author:
        try:
            return cls(str(github.get("user").get("login")))
        except RefusedError as error:
            if error.status == 403:
                return cls()
            raise

    def wrote(self, comment: dict[str, Any]) -> bool:
        if _login(comment) in (ACTIONS_BOT, self.login):
            return True
        return not self.login and _is_bot(comment)


def _login(comment: dict[str, Any]) -> str:
    return str((comment.get("user") or {}).get("login"))


def _is_bot(comment: dict[str, Any]) -> bool:
    return (comment.get("user") or {}).get("type") == "Bot"


def _marker(body: str) -> str:
    found = MARKER.match(body.lstrip())
    if found is None:
        raise ConfigurationError(
            "The file does not start with the hidden line of a preview, so its comment could not be found later.",
            next_step="Write it with `slipway preview -s ENV --markdown FILE`.",
        )
    return found[0]


def _body(file: Path) -> str:
    try:
        body = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"--file {file} cannot be read: {error}",
            next_step="Write it with `slipway preview -s ENV --markdown FILE`.",
        ) from error
    if len(body) > LONGEST_BODY:
        raise ConfigurationError(
            f"{file} has {len(body):,} characters; GitHub takes at most {LONGEST_BODY:,} in a comment.",
            next_step="Write it with `slipway preview -s ENV --markdown FILE`, which keeps to this limit.",
        )
    _marker(body)
    return body
