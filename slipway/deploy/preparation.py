"""What stands before every update and rollback: a stack that is there, is nobody else's now, and is in order."""

from __future__ import annotations

from collections.abc import Callable

from slipway.deploy.recovery import read_again, recover
from slipway.deploy.state_repair import repair, restore_unreadable
from slipway.deploy.unmanaged_namespace import release_namespace
from slipway.stack import Session


def put_in_order(session: Session, stack: str, say: Callable[[str], None]) -> None:
    """Make the stack where it is missing, release the lock of an engine that is gone, and put right what a killed
    update or a damaged state has left; raises SlipwayError where another update holds the stack.
    """
    to_read = restore_unreadable(session, stack, say)
    session.stacks.ensure(stack, say)
    session.stacks.require_unlocked(stack)
    repair(session, stack, say)
    recover(session, stack, say)
    read_again(session, stack, to_read)
    release_namespace(session, stack, say)
