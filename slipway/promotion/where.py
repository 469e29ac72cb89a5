"""Which image of each service runs in each environment, since when, and the commits between two of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.yaml_source import YamlError, read
from slipway.backend import History
from slipway.backend.promotion import Promotion, deployed_by, promotions
from slipway.backend.services import RecordedServices, services
from slipway.errors import ConfigurationError, SlipwayError
from slipway.promotion.settings_file import SettingsFile
from slipway.stack import Stack

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


@dataclass(frozen=True)
class RunningImage:
    """One service in one environment, as its present state has it.

    `update` brought the image and `since` is when it began. `commit` is the one that the image was built from; `dirty`
    if there were uncommitted changes. `waiting` is a digest that the settings promote and that does not run.
    """

    environment: str
    service: str
    image: str
    commit: str
    dirty: bool
    update: int
    since: datetime
    promoted_from: Promotion | None = None
    waiting: Promotion | None = None

    @property
    def digest(self) -> str:
        return self.image.rpartition("@")[2]


@dataclass(frozen=True)
class Ahead:
    """`environment` has another image of a service than `behind`; `commits` is `None` if git lacks some here."""

    environment: str
    behind: str
    service: str
    commits: Sequence[ServiceCommit] | None


@dataclass(frozen=True)
class UnreadableEnvironment:
    """An environment that cannot be read, and why."""

    environment: str
    reason: str


def running_images(stack: Stack) -> list[RunningImage]:
    """The image of each service in an environment, by name; empty if it was never updated.

    Raises SlipwayError if the backend does not answer, or its present state cannot be read.
    """
    history = stack.history()
    present = history.present()
    if present is None or not history.numbers:
        return []
    promoted = promotions(present)
    try:
        settings = SettingsFile.read(stack.project.folder / f"Pulumi.{stack}.yaml")
        in_settings = {} if settings.builds else settings.images
    except ConfigurationError:  # an update and a promotion report what is wrong with it
        in_settings = {}
    recorded = RecordedServices(history)
    found = []
    for name, state in services(present).items():
        number = _brought_by(history, recorded, name, state.image)
        entry, origin = history.entry(number), promoted.get(name)
        builder = entry if origin else deployed_by(history, number, name)
        waiting = in_settings.get(name)
        found.append(
            RunningImage(
                stack.name,
                name,
                state.image,
                origin.commit if origin else builder.commit,
                dirty=not origin and builder.dirty,
                update=number,
                since=entry.started,
                promoted_from=origin,
                waiting=waiting if waiting and not state.image.endswith(f"@{waiting.digest}") else None,
            )
        )
    recorded.save()
    return found


def _brought_by(history: History, recorded: RecordedServices, service: str, image: str) -> int:
    """The oldest update since which the service has always had this image."""
    found = history.numbers[-1]
    for number in reversed(history.numbers):
        try:
            state = recorded.of(number).get(service)
        except SlipwayError:  # a state that cannot be read: the known history begins after it
            break
        if state is None or state.image != image:
            break
        found = number
    return found


def ahead(images: Sequence[RunningImage], folder: Path, paths: Mapping[str, Sequence[Path]]) -> list[Ahead]:
    """For each service, the environments that have another image than one that follows them, and the commits between.

    A promoted environment follows the one that it was promoted from. All that build follow the one of them that
    changed last.
    """
    found = []
    for image in images:
        others = [each for each in images if each.service == image.service and each is not image]
        if image.promoted_from:
            source = image.promoted_from.source
            leader = next((each for each in others if each.environment == source), None)
        else:
            builders = [each for each in others if not each.promoted_from and each.since > image.since]
            leader = max(builders, key=lambda each: each.since, default=None)
        if leader is None or leader.digest == image.digest:
            continue
        known = commits_between(folder, image.commit, leader.commit, paths.get(image.service, ()))
        found.append(Ahead(leader.environment, image.environment, image.service, known))
    return found
