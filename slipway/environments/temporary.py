"""What a temporary environment has: its name, tags, a pull request's comment, settings that git does not track; and how
an environment is taken down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from slipway import project as projects
from slipway.backend.recording import RecordedStack
from slipway.deploy.display import OperationError, UpdateDisplay
from slipway.deploy.preparation import drop_databases, prepare_stack
from slipway.deploy.work_tree import git_output, uncommitted
from slipway.engine.errors import failure, messages
from slipway.engine.events import Event, open_log, parse
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.paths import data_home
from slipway.progress import Progress
from slipway.project import Project
from slipway.render.markdown_text import fence
from slipway.stack import Stack, open_stack
from slipway.state.checkpoint import resources

LIKE_TAG, EXPIRES_TAG = "slipway:like", "slipway:expires"
HEADER = "# Made by `slipway up --like"
# `slipway-` precedes it in the name of the namespace: a DNS label of at most 63 characters.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?", re.ASCII)
DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,5})(?P<unit>[mhdw])", re.ASCII)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=365)
# Settings that locate the cluster and the registry if the environment's own settings are in another clone.
PLACE_KEYS = ("slipway:registry", "slipway:context")


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


def require_removable(project: Project, name: str, *, committed: bool) -> None:
    """Raise ConfigurationError if environment `name` must not be taken down; the error says why.

    It may be if it is temporary, or with `committed`.
    """
    if committed or not is_declared(project, name):
        return
    raise ConfigurationError(
        f"{name} was not taken down: Pulumi.{name}.yaml belongs to the repository.",
        why=f"{name} is one of the environments that this project declares: its objects, the data in its volumes "
        "and the history that rollbacks need would be deleted.",
        next_step=f"To delete it anyway: slipway down -s {name} --committed",
    )


@contextmanager
def opened(name: str) -> Iterator[Stack | None]:
    """The stack of an environment that need not have settings in this clone; `None` if there is no such stack.

    While it is open, and no longer, a generated settings file replaces the one that is in another clone.
    """
    project = projects.require(Path.cwd())
    file = project.folder / f"Pulumi.{name}.yaml"
    if file.exists():
        stack = open_stack(name, cluster=False)
        yield stack if stack.stacks.exists(name) else None
        return
    other = any_stack(project)
    if not other.stacks.exists(name):
        yield None
        return
    exclude_from_git(project.folder, name)
    try:
        text = f"{HEADER}`.\n"
        with suppress(ValueError):
            found = Temporary.of_tags(other.stacks.tags(name))
            if found and found.like in project.environments():
                config = project.settings(found.like)
                place = {key: config[key] for key in PLACE_KEYS if key in config}
                text = f"{HEADER} {found.like}`.\n" + yaml.safe_dump({"config": place})
        file.write_text(text, encoding="utf-8")
        yield open_stack(name, cluster=False)
    finally:
        file.unlink(missing_ok=True)
        include_in_git(project.folder, name)


def any_stack(project: Project) -> Stack:
    """The stack of any environment: all are in one backend. Raises ConfigurationError if the project has none."""
    names = project.environments()
    if not names:
        raise ConfigurationError(
            f"{project.folder} has no Pulumi.<env>.yaml.", next_step="Run this in a clone of the project."
        )
    return open_stack(names[0], cluster=False)


def remove(stack: Stack, progress: Progress) -> None:
    """Destroy the resources of the stack, then the stack, its files, and its databases on the lab if it is temporary.
    Committed files stay.

    Raises SlipwayError if another update holds it, the cluster does not answer, or an object or a database cannot be
    deleted. The stack then still exists, and the same call continues.
    """
    # Its secrets are encrypted with the key that the state names: the settings may be of another clone.
    variables = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
    stack = stack.with_variables(variables)
    prepare_stack(stack, progress.note)
    state = stack.present()
    if state and (found := list(resources(state))):
        stack.require_cluster()
        if any(each.raw.get("protect") for each in found):
            stack.stacks.run(stack.name, "state", "unprotect", "--all", "--yes", "--stack", stack.name)
        _destroy(stack, progress)
    if not is_declared(stack.project, stack.name):
        drop_databases(stack, progress.note)
    recorded = RecordedStack.of(stack.history().source)
    stack.stacks.remove(stack.name)
    if recorded:
        recorded.remove_journals()
    remove_files(stack)


def remove_files(stack: Stack) -> None:
    """Remove the stack's files on this machine, and its settings if they are not committed."""
    for folder in data_home().glob("*/"):
        own = stack.own_file(folder.name)
        for file in folder.glob(f"{own.stem}.*"):
            file.unlink()
    remove_settings(stack.project, stack.name)


def remove_settings(project: Project, name: str) -> bool:
    """Remove generated settings; False if there are none. Settings that the repository declares stay."""
    file = project.folder / f"Pulumi.{name}.yaml"
    if not is_generated(file) or is_declared(project, name):
        return False
    file.unlink()
    include_in_git(project.folder, name)
    return True


def _destroy(stack: Stack, progress: Progress) -> None:
    events: list[Event] = []
    with suppress(OperationError), progress.step(f"Destroy {stack}") as whole, open_log("down", stack.name) as log:
        display = UpdateDisplay(progress, whole)

        def on_line(line: str, at_seconds: float) -> None:
            log.write_line(line, at_seconds)
            if event := parse(line, at_seconds):
                events.append(event)
                display.show(event)

        arguments = ["destroy", "--stack", stack.name, "--yes", "--skip-preview", "--json"]
        ended = stack.stream(arguments, on_line, progress.note)
        display.close(interrupted=ended.interrupted)
        log.write(ended.errors)
        if ended.exit_code or ended.interrupted:
            raise OperationError  # for the progress: its line says that it failed
        return
    progress.note(f"Engine log: {log.name}")
    again = f"`slipway down -s {stack}` continues where it stopped."
    if ended.interrupted:
        raise SlipwayError(f"{stack} was not taken down: interrupted.", next_step=again, code=ExitCode.INTERRUPTED)
    known = failure(stack.name, events, ended.errors)
    raise SlipwayError(
        f"{stack} was not taken down: {known.what}",
        why="\n".join(messages(events)) or known.why,
        next_step=f"{known.next_step}\n{again}".strip(),
    )
