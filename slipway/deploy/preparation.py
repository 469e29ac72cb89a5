"""Prepares every update and rollback: the stack exists and is unlocked, and its state is in order."""

from __future__ import annotations

from collections.abc import Callable

from slipway.deploy.lab_databases import ensure_databases
from slipway.deploy.recovery import import_state, recover, refresh, repair, restore_unreadable, write_journal
from slipway.stack import Stack
from slipway.state.namespaces import has_namespace, without_namespace


def forget_unmanaged_namespace(stack: Stack, say: Callable[[str], None]) -> None:
    """Remove from the state a Namespace that the stack no longer manages; the cluster keeps it as it is."""
    name = stack.unmanaged_namespace()
    present = stack.present() if name else None
    if present and has_namespace(present, name):
        import_state(stack, without_namespace(present, name))
        say(f"Namespace {name} is somebody else's by now (managed: false): the state of {stack} forgets it.")


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
