"""Git: whether all files to be deployed are committed, and the commits that are previewed and deployed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.catalog import SPEC_FILE
from slipway.deploy.summary import Commits
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import ConfigurationError
from slipway.project import Project
from slipway.render.markdown import Links
from slipway.render.markdown_text import some_of

PRODUCTION = "prod"
NAMED = 8
UNTRACKED, IGNORED = "??", "!!"
# Folders in which an untracked file is part of the program, or of an image.
FOLDERS = ("services/", "components/", "policy/")
OPTIONS = ("color.status=never", "core.quotePath=false", "status.relativePaths=true", "status.branch=false")
DIRTY = "-dirty"
LOOKED_BACK = 20


def require_committed(project: Project, stack: str, *, allowed: bool) -> list[str]:
    """The files that are not committed; raises ConfigurationError if there are any in production, unless `allowed`."""
    try:
        files = uncommitted(project.folder)
    except ConfigurationError:  # only production needs to know
        if allowed or tier(project, stack) != PRODUCTION:
            return []
        raise
    if not files or allowed or tier(project, stack) != PRODUCTION:
        return files
    raise ConfigurationError(
        f"{stack} must be updated from a commit, and the work tree has uncommitted changes.",
        why="\n".join(files[:NAMED]) + (f"\nand {len(files) - NAMED} more" if len(files) > NAMED else ""),
        next_step="Commit them (or `git stash`), then update. "
        "In an emergency use --allow-dirty; the history records it.",
    )


def tier(project: Project, stack: str) -> str:
    """The tier of `stack` in policy/settings.yaml; ConfigurationError if that cannot be read."""
    # Slow to load, and seldom needed.
    from policy.files import PolicyFileError, load_settings  # noqa: PLC0415

    try:
        return load_settings(stack, {}, {}, project.folder / "policy" / "settings.yaml").tier
    except PolicyFileError as error:
        raise ConfigurationError("policy/settings.yaml cannot be used.", why=str(error)) from error


def message(files: list[str]) -> str:
    """The history's message for an update that was allowed with uncommitted `files`."""
    return f"uncommitted changes allowed: {some_of(files, NAMED)}"


def uncommitted(folder: Path) -> list[str]:
    """Paths of files that differ from the commit, of new files that matter, and of services that git ignores; empty if
    there is no git repository.

    Raises ConfigurationError if git does not read the repository, for example one of another user.
    """
    options = [part for option in OPTIONS for part in ("-c", option)]
    shown = ["--short", "--no-renames", "--untracked-files=all", "--ignored=matching"]
    command = ["git", *options, "status", *shown, "--", "."]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except OSError:  # no git on this machine
        return []
    if done.returncode and any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        raise ConfigurationError(
            "git cannot tell whether everything is committed.",
            why=done.stderr.strip(),
            next_step="Run `git status` here, and fix the error that it shows.",
        )
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    # git quotes a name that has blanks.
    names = ((line[:2], line[3:].strip('"')) for line in lines)
    return [name for how, name in names if how not in (UNTRACKED, IGNORED) or _matters(folder, how, name)]


def _matters(folder: Path, how: str, path: str) -> bool:
    """Whether the path matters. Of ignored ones only services do: tools' files are ignored on purpose, but a service
    such as `services/build/` is not.
    """
    if how == IGNORED:
        within = Path(path).parts
        of_service = len(within) == 2 or within[2:] == (SPEC_FILE,)
        return path.startswith("services/") and of_service and (folder / within[0] / within[1] / SPEC_FILE).exists()
    in_project = "/" not in path and (path.endswith(".py") or (path.startswith("Pulumi") and path.endswith(".yaml")))
    return in_project or path.startswith(FOLDERS)


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
            environment = update.get("environment") or {}
            head: str = environment.get("git.head", "")
            return f"{head}{DIRTY}" if head and environment.get("git.dirty") == "true" else head
    return ""


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
