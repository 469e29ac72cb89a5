"""The commits between two images of a service: those that changed the folders it is built from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.yaml_source import YamlError, read

FOLDER = "services"
SEPARATOR = "\x1f"


@dataclass(frozen=True)
class ServiceCommit:
    """`reverted` is true if the older image has the commit and the newer one does not."""

    commit: str
    subject: str
    reverted: bool = False


def commits_between(folder: Path, old: str, new: str, paths: Sequence[Path]) -> list[ServiceCommit] | None:
    """Newest first, of `paths` only if there are any; `None` if git does not have one of the commits here."""
    if old == new:
        return []
    # The user's git configuration must not add anything to each commit.
    arguments = [
        "log",
        "--no-show-signature",
        "--encoding=UTF-8",
        "--left-right",
        f"--format=%m{SEPARATOR}%H{SEPARATOR}%s",
        f"{old}...{new}",
        "--",
    ]
    try:
        done = subprocess.run(
            ["git", *arguments, *map(str, paths)],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:  # no git on this machine
        return None
    if done.returncode:
        return None
    found = (line.split(SEPARATOR, 2) for line in done.stdout.splitlines() if line)
    return [ServiceCommit(commit, subject, reverted=side == "<") for side, commit, subject in found]


def build_paths(folder: Path) -> Mapping[str, Sequence[Path]]:
    """The folders that the image of each service is built from, relative to the project, by the service's name.

    A service.yaml that cannot be read is left out: its commits are then those of the whole project.
    """
    found = {}
    for file in sorted((folder / FOLDER).glob("*/service.yaml")):
        try:
            data = read(file).data
        except (YamlError, OSError):
            continue
        contexts, build = data.get("contexts"), data.get("build")
        others = [*contexts.values()] if isinstance(contexts, dict) else []
        if isinstance(build, dict):
            others += [build[key] for key in ("context", "dockerfile") if key in build]
        within = Path(FOLDER) / file.parent.name
        found[str(data.get("name"))] = [within, *(Path(os.path.normpath(within / str(each))) for each in others)]
    return found
