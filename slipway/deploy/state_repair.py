"""Puts right a state that the engine refuses: from then on it would do nothing with the stack, no rollback either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from slipway.backend import History
from slipway.deploy.recovery import UNCHECKED, import_state, refresh
from slipway.errors import SlipwayError
from slipway.stack import Stack
from slipway.state.checkpoint import Snapshot, objects
from slipway.state.integrity import problems, repaired

STATES_LOOKED_AT = 20
Say = Callable[[str], None]


def restore_unreadable(stack: Stack, say: Say) -> list[str]:
    """Where the file that has the state cannot be read, put the state that the last update left in its place; the URNs
    of what has to be read from the cluster then.

    That can only be in a folder: a bucket or Pulumi Cloud replaces a state as a whole. Nothing is done while an update
    holds the stack.
    """
    files = stack.stacks.files
    if files is None or not all(lock.is_dead for lock in files.locks(stack.name)):
        return []
    if (file := files.unreadable(stack.name)) is None:
        return []
    history = stack.history()
    number, state = next(_whole_states(history), (0, None))
    if state is None:
        return []  # reading it says what there is to do
    kept = files.replace_state(stack.name, file, state)
    say(f"The state of {stack} cannot be read: {file.name} was cut short. It is kept as {kept}.")
    say(f"The state that update #{number} left is in its place; what has changed since is read from the cluster.")
    return list(objects(state))


def repair(stack: Stack, say: Say) -> None:
    """Where the engine would refuse the state, put it in order, or take the newest recorded one that is whole.

    SlipwayError where there is none, or the engine refuses that, too.
    """
    history = stack.history()
    if history.source.is_held():
        return
    present = history.present()
    if not present or not (wrong := problems(present)):
        return
    kept = stack.own_file("refused-states").with_suffix(f".{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    exported = stack.engine.run("stack", "export", "--stack", stack.name, "--file", str(kept), UNCHECKED)
    where = f" It is kept as {kept}." if not exported.exit_code else ""
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    say(f"The state of {stack} is damaged: {wrong[0]}{more}.{where}")
    mended = repaired(present, _recorded(history))
    if not problems(mended):
        import_state(stack, mended, UNCHECKED)
        say("It is in order again.")
        return
    number, state = next(_whole_states(history), (0, None))
    if state is None:
        raise SlipwayError(
            f"The state of {stack} is damaged, and no recorded one is whole.",
            why="\n".join(wrong[:5]),
            next_step="`pulumi state repair` may help; what runs is not touched.",
        )
    import_state(stack, state, UNCHECKED)
    say(f"The state that update #{number} left is in its place; what has changed since is read from the cluster.")
    refresh(stack, list(objects(state)))


def _recorded(history: History) -> Iterator[Snapshot]:
    """Newest first."""
    for number in reversed(history.numbers[-STATES_LOOKED_AT:]):
        with suppress(SlipwayError):  # it is damaged as well
            yield history.checkpoint(number)


def _whole_states(history: History) -> Iterator[tuple[int, Snapshot]]:
    """Those that the engine accepts, newest first, with their numbers."""
    for number in reversed(history.numbers[-STATES_LOOKED_AT:]):
        with suppress(SlipwayError):  # it is damaged as well
            if not problems(state := history.checkpoint(number)):
                yield number, state
