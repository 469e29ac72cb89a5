"""The commit that is previewed, the commit of the stack's last update, and links to their difference."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.deploy.summary import Commits
from slipway.deploy.work_tree import uncommitted
from slipway.engine.pulumi_cli import Pulumi
from slipway.render.markdown import Links

DIRTY = "-dirty"
LOOKED_BACK = 20


def commits(folder: Path, engine: Pulumi | None, stack: str) -> Commits:
    """The commits that git and the backend's history know; empty if unknown."""
    return Commits(previewed_commit(folder), deployed_commit(engine, stack) if engine else "")


def previewed_commit(folder: Path) -> str:
    """HEAD of the work tree, with `-dirty` if a file that decides what is deployed is not committed."""
    head = git_output(folder, "rev-parse", "HEAD")
    return f"{head}{DIRTY}" if head and uncommitted(folder) else head


def deployed_commit(engine: Pulumi, stack: str) -> str:
    """The commit of the last update that succeeded."""
    arguments = ("--json", "--page-size", str(LOOKED_BACK), "--page", "1")
    done = engine.run("stack", "history", "--stack", stack, *arguments)
    if done.exit_code:
        return ""
    try:
        updates: list[dict[str, Any]] = json.loads(done.output)
    except ValueError:  # a backend without a history says so in plain text
        return ""
    for update in updates:
        if update.get("kind") == "update" and update.get("result") == "succeeded":
            return _commit_of(update.get("environment") or {})
    return ""


def _commit_of(environment: Mapping[str, str]) -> str:
    head = environment.get("git.head", "")
    return f"{head}{DIRTY}" if head and environment.get("git.dirty") == "true" else head


def links(environment: Mapping[str, str], known: Commits) -> Links:
    """Links to the run and to the commits' difference, from the variables that GitHub Actions and GitLab CI set."""
    before, after = (commit.removesuffix(DIRTY) for commit in (known.deployed, known.previewed))
    different = f"{before}...{after}" if before and after and before != after else ""
    if repository := environment.get("GITHUB_REPOSITORY"):
        base = f"{environment.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
        run = environment.get("GITHUB_RUN_ID")
        return Links(f"{base}/actions/runs/{run}" if run else "", f"{base}/compare/{different}" if different else "")
    if project := environment.get("CI_PROJECT_URL"):
        return Links(environment.get("CI_JOB_URL", ""), f"{project}/-/compare/{different}" if different else "")
    return Links()


def git_output(folder: Path, *arguments: str) -> str:
    """The output of git in `folder`; empty if git fails or is missing."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except OSError:  # no git on this machine: the commit stays unknown
        return ""
    return "" if done.returncode else done.stdout.strip()
