"""Prepares every update and rollback: the stack exists, unlocked and in order, with its databases in the lab."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from slipway.deploy.last_update import service_sources
from slipway.deploy.recovery import import_state, recover, refresh, repair, restore_unreadable, write_journal
from slipway.environment_variables import lab_variables, secret_variable
from slipway.errors import SlipwayError
from slipway.paths import CHECKOUT, STACK_PLACEHOLDER
from slipway.stack import Stack
from slipway.state.kubernetes_objects import has_namespace, without_namespace

TIMEOUT_SECONDS = 300


def prepare_stack(stack: Stack, say: Callable[[str], None]) -> None:
    """Create the stack and its databases on the lab if they are missing, release the lock of an engine that is gone,
    and repair what a killed update or a damaged state has left; raises SlipwayError if another update holds the stack.
    """
    to_read = restore_unreadable(stack, say)
    stack.stacks.ensure(stack.name, say)
    ensure_databases(stack, say)
    stack.stacks.require_unlocked(stack.name)
    write_journal(stack, say)
    repair(stack, say)
    recover(stack, say)
    refresh(stack, to_read)
    forget_unmanaged_namespace(stack, say)


def forget_unmanaged_namespace(stack: Stack, say: Callable[[str], None]) -> None:
    """Remove from the state a Namespace that the stack no longer manages; the cluster keeps it as it is."""
    name = stack.unmanaged_namespace()
    present = stack.present() if name else None
    if present and has_namespace(present, name):
        import_state(stack, without_namespace(present, name))
        say(f"Removed Namespace {name} from the state of {stack}: `slipway:namespace` has `managed: false`.")


def ensure_databases(stack: Stack, say: Callable[[str], None]) -> None:
    """Make the lab create the databases of `stack`, if a service takes the address of one from the lab and there is
    none yet. SlipwayError if the lab cannot.
    """
    missing = [name for name, file in _url_files(stack).items() if not file.exists()]
    if missing and _read_from_lab(stack, missing):
        _lab_databases(stack)
        say(f"{stack} has databases of its own on the lab.")


def drop_databases(stack: Stack, say: Callable[[str], None]) -> None:
    """Make the lab delete the databases of `stack` with all their data. SlipwayError if it cannot."""
    if any(file.exists() for file in _url_files(stack).values()):
        _lab_databases(stack, "--drop")
        say(f"Deleted the databases of {stack} on the lab.")


def _url_files(stack: Stack) -> dict[str, Path]:
    """The lab's files with the addresses of this stack's databases, by the variable that names the file."""
    if not stack.environment.uses_lab:
        return {}
    given = stack.engine.environment
    return {
        name: Path(path.replace(STACK_PLACEHOLDER, stack.name))
        for name, path in lab_variables().items()
        if STACK_PLACEHOLDER in path and given.get(name) == path
    }


def _read_from_lab(stack: Stack, variables: Iterable[str]) -> bool:
    """Whether a service of this clone takes its address from one of them; the stack's settings take precedence."""
    keys = (str(key).partition(":") for key in stack.project.settings(stack.name))
    configured = {f"{secret_variable(service, key)}_FILE" for service, _, key in keys}
    try:
        services = tuple(secret_variable(each.name, "") for each in service_sources(stack.project.folder))
    except ValueError:  # the program reports it, with file and line
        return False
    return any(name not in configured and name.startswith(services) for name in variables)


def _lab_databases(stack: Stack, *options: str) -> None:
    """Runs the command, because in this package only the commands `lab`, `toolchain` and `doctor` know the lab."""
    command = [sys.executable, "-m", "slipway.cli.main", "lab", "databases", stack.name, *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode:
        raise SlipwayError(
            f"The lab's databases of {stack} could not be {'deleted' if options else 'created'}.",
            why=done.stderr.strip(),
            next_step=f"`slipway lab databases {' '.join([stack.name, *options])}` tries again.",
        )
