"""What stands before every update and rollback: a stack that is there, is nobody else's now, and is in order."""

from __future__ import annotations

from collections.abc import Callable

from slipway.deploy.recovery import recover, refresh
from slipway.deploy.state_repair import repair, restore_unreadable
from slipway.deploy.unmanaged_namespace import release_namespace
from slipway.stack import Stack


def prepare_stack(stack: Stack, say: Callable[[str], None]) -> None:
    """Make the stack where it is missing, release the lock of an engine that is gone, and put right what a killed
    update or a damaged state has left; raises SlipwayError where another update holds the stack.
    """
    to_read = restore_unreadable(stack, say)
    stack.stacks.ensure(stack.name, say)
    stack.stacks.require_unlocked(stack.name)
    repair(stack, say)
    recover(stack, say)
    refresh(stack, to_read)
    release_namespace(stack, say)
