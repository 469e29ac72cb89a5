"""Whether all files to be deployed are committed, as they must be in production."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from services.catalog import SPEC_FILE
from slipway.errors import ConfigurationError
from slipway.project import Project
from slipway.render.markdown_text import some_of

PRODUCTION = "prod"
NAMED = 8
UNTRACKED, IGNORED = "??", "!!"
# Folders in which an untracked file is part of the program, or of an image.
FOLDERS = ("services/", "components/", "policy/")
OPTIONS = ("color.status=never", "core.quotePath=false", "status.relativePaths=true", "status.branch=false")


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
        f"{stack} is updated from a commit, and the work tree has changes that are in none.",
        why="\n".join(files[:NAMED]) + (f"\nand {len(files) - NAMED} more" if len(files) > NAMED else ""),
        next_step="Commit them (or `git stash`), then update. "
        "In an emergency --allow-dirty goes on, and the history will say so.",
    )


def tier(project: Project, stack: str) -> str:
    """The tier of `stack` in policy/settings.yaml; ConfigurationError if that cannot be read."""
    # Slow to load, and seldom needed.
    from policy import settings  # noqa: PLC0415
    from policy.yaml_lines import PolicyFileError  # noqa: PLC0415

    try:
        return settings.load(stack, {}, {}, project.folder / "policy" / "settings.yaml").tier
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
            "git does not say whether everything is committed.",
            why=done.stderr.strip(),
            next_step="Run `git status` here, and fix what it complains of.",
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
