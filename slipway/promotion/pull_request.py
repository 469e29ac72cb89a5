"""Opens a pull request on GitHub that changes one environment's settings, without touching a clone."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.deploy.work_tree import git_output
from slipway.errors import ConfigurationError, SlipwayError
from slipway.github import LONGEST_BODY, GitHub, RefusedError, TransientError

# git@github.com:acme/shop.git, https://github.com/acme/shop, ssh://git@github.com/acme/shop.git
REMOTE = re.compile(r"(?:[/:])(?P<repository>[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+?)(?:\.git)?/?$")
UNPROCESSABLE = 422


@dataclass(frozen=True)
class ProposedChange:
    """A change of `path`, which is relative to the repository: `edit` changes its text on the base branch."""

    path: str
    edit: Callable[[str], str]
    branch: str
    title: str
    body: str


def open_pull_request(github: GitHub, repository: str, change: ProposedChange) -> str:
    """Open a pull request and return its URL; empty if the change's branch already exists: it was proposed before.

    Raises ConfigurationError if GitHub refuses it.
    """
    base_path = f"repos/{repository}"
    try:
        base = str(github.get(base_path)["default_branch"])
        commit = str(github.get(f"{base_path}/git/ref/heads/{base}")["object"]["sha"])
        found = github.get(f"{base_path}/contents/{change.path}?ref={commit}")
        text = change.edit(base64.b64decode(found["content"]).decode())
        try:
            github.post(f"{base_path}/git/refs", {"ref": f"refs/heads/{change.branch}", "sha": commit})
        except RefusedError as error:
            if error.status == UNPROCESSABLE:  # the branch already exists
                return ""
            raise
        content = base64.b64encode(text.encode()).decode()
        committed = {"message": change.title, "content": content, "sha": str(found["sha"]), "branch": change.branch}
        github.put(f"{base_path}/contents/{change.path}", committed)
        asked = {"title": change.title, "head": change.branch, "base": base, "body": change.body[:LONGEST_BODY]}
        return str(github.post(f"{base_path}/pulls", asked).get("html_url", ""))
    except RefusedError as error:
        raise ConfigurationError(
            error.what,
            next_step="The token needs to write contents and pull requests of "
            f"{repository}: `permissions: {{contents: write, pull-requests: write}}` in a workflow.",
        ) from error
    except TransientError as error:
        raise SlipwayError(
            f"GitHub did not confirm the request: {error}",
            next_step=f"Look for branch {change.branch} of {repository}, delete it, and run the same command again.",
        ) from error


def repository_of(folder: Path, environ: Mapping[str, str]) -> str:
    """`OWNER/NAME` from GITHUB_REPOSITORY, else from git's remote `origin`; raises ConfigurationError without them."""
    if named := environ.get("GITHUB_REPOSITORY"):
        return named
    found = REMOTE.search(git_output(folder, "remote", "get-url", "origin"))
    if found is None:
        raise ConfigurationError(
            "The repository on GitHub is unknown: git's remote `origin` names none.",
            next_step="Set GITHUB_REPOSITORY=OWNER/NAME.",
        )
    return found["repository"]


def path_in_repository(folder: Path, file: str) -> str:
    """The path of a file in the project's folder, relative to the repository."""
    return f"{git_output(folder, 'rev-parse', '--show-prefix')}{file}"
