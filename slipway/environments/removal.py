"""Takes an environment down: all resources in its state, the stack with its history, and its files on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from slipway import project as projects
from slipway.backend.recording import RecordedStack
from slipway.deploy.preparation import drop_databases, prepare_stack
from slipway.deploy.update import follow
from slipway.engine.errors import failure, messages
from slipway.environments.temporary import (
    HEADER,
    Temporary,
    exclude_from_git,
    include_in_git,
    is_declared,
    is_generated,
)
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.paths import data_home
from slipway.progress import Progress
from slipway.project import Project
from slipway.stack import Stack, open_stack
from slipway.state.checkpoint import resources

# Settings that locate the cluster and the registry if the environment's own settings are in another clone.
PLACE_KEYS = ("slipway:registry", "slipway:context")


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
    arguments = ["destroy", "--stack", stack.name, "--yes", "--skip-preview", "--json"]
    done = follow(stack, arguments, progress, title=f"Destroy {stack}", command="down")
    if done.succeeded:
        return
    progress.note(f"Engine log: {done.log}")
    again = f"`slipway down -s {stack}` continues where it stopped."
    if done.ended.interrupted:
        raise SlipwayError(f"{stack} was not taken down: interrupted.", next_step=again, code=ExitCode.INTERRUPTED)
    known = failure(stack.name, done.events, done.ended.errors)
    raise SlipwayError(
        f"{stack} was not taken down: {known.what}",
        why="\n".join(messages(done.events)) or known.why,
        next_step=f"{known.next_step}\n{again}".strip(),
    )
