"""The target of a rollback: that of an unfinished one, or the newest good state that differs from the present one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from slipway.backend import History, RollbackInfo, UpdateInfo, UpdateKind
from slipway.deploy.preparation import RECOVERY_MESSAGE
from slipway.errors import ConfigurationError, SlipwayError
from slipway.stack import Stack
from slipway.state.checkpoint import ResourceState, Snapshot, fingerprint, is_settled, objects

# A refresh records what others did to the cluster, and a destroy leaves nothing: neither is a release.
RELEASES = (UpdateKind.UPDATE, UpdateKind.ROLLBACK, UpdateKind.IMPORT)


def default_target(history: History, present: Snapshot, services: Collection[str] = ()) -> UpdateInfo:
    """The newest successful state that differs from the present one and was not itself rolled back from.

    Right after a rollback this is a state older than the rollback's target, not the one that was rolled back from.
    States that differ only in the value of a Secret with the same name count as equal. With `services`, only their
    part of each state counts: changes of other services do not matter. After a failed rollback it is the same target
    again. Raises ConfigurationError if there is no such state.
    """
    states = _States(history, frozenset(services))
    # A successful update may leave replaced objects to the next one: the engine deletes nothing that an excluded
    # resource depends on. An update that did not finish has left no state of its own.
    succeeded = history.entries[-1].succeeded
    counting = [ResourceState(raw) for raw in present["resources"] if not (succeeded and raw.get("delete"))]
    inputs = [each.raw for each in counting if not services or each.service in services]
    now = fingerprint(present, services) if is_settled({**present, "resources": inputs}) else ""
    position = states.position()
    if (again := states.unfinished()) and states.fingerprint(again.number) != now:
        return again
    for entry in states.good_releases():
        if entry.number <= position and states.fingerprint(entry.number) != now:
            return entry
    _require_known(history, present, services)
    of_what = f" of {', '.join(services)}" if services else ""
    raise ConfigurationError(
        f"{history.stack} has no earlier state{of_what} to go back to.",
        why="Each earlier update failed, has the same state, or was rolled back from.",
        next_step=f"`slipway history -s {history.stack}` lists them; name one with --to.",
    )


def _require_known(history: History, present: Snapshot, services: Collection[str]) -> None:
    """Raise ConfigurationError, with the known services, if one is neither in the present nor the last good state."""
    good = last_good(history)
    states = (present, history.checkpoint(good.number)) if good else (present,)
    known = {each.service for state in states for each in objects(state).values() if each.service}
    if unknown := [name for name in services if name not in known]:
        raise ConfigurationError(
            f"{history.stack} has no service {', '.join(unknown)}.",
            why=f"Its services: {', '.join(sorted(known)) or 'none'}.",
            next_step="Name one of them, or with --to an update that had it.",
        )


def last_good(history: History) -> UpdateInfo | None:
    """The newest release that succeeded and was not rolled back from: the state before a failed update."""
    return next(_States(history).good_releases(), None)


def unverified(history: History, entry: UpdateInfo) -> str:
    """Why the state that `entry` left is not verified, in words that follow its number; empty if it is."""
    if entry.problem or not entry.succeeded:
        return f"cannot be read: {entry.problem}" if entry.problem else "failed"
    if entry.kind not in RELEASES:
        return f"is a {entry.kind}, which runs no checks"
    states = _States(history)
    if entry.number in {good.number for good in states.good_releases()}:
        return ""
    undone = (
        each
        for each in history.entries
        if each.succeeded and each.rollback and each.number > entry.number
        if states.fingerprint(each.rollback.source) == states.fingerprint(entry.number)
    )
    by = next((f" by #{each.number}" for each in undone), "")
    return f"was rolled back from{by}" if by else "did not run the checks of every service"


class _States:
    """The recorded states, each read once, when it is needed: all of it, or only its part of `services`."""

    def __init__(self, history: History, services: frozenset[str] = frozenset()) -> None:
        self._history = history
        self._services = services
        # The state of a failed update is no release; its inputs may be those of the one before.
        self._succeeded = {entry.number for entry in history.entries if entry.succeeded}
        self._fingerprints: dict[int, str] = {}

    def good_releases(self) -> Iterator[UpdateInfo]:
        """The good releases, newest first."""
        return filter(self._is_good, reversed(self._history.entries))

    def _is_good(self, entry: UpdateInfo) -> bool:
        """A later release of a state that was once rolled back from is a release like any other."""
        if not entry.succeeded or entry.problem or entry.kind not in RELEASES:
            return False
        state = self.fingerprint(entry.number)
        return bool(state) and self._is_checked(entry) and not self._is_undone(entry.number, state)

    def _is_checked(self, entry: UpdateInfo) -> bool:
        """Whether all services in question were checked: a rollback of some services runs only their checks, and leaves
        the others as they were, working or not.
        """
        updates = [each for each in self._history.entries if each.kind is not UpdateKind.REFRESH]
        while entry.rollback and not self._is_of_all(entry.rollback):
            found = next((each for each in reversed(updates) if each.number < entry.number), None)
            if found is None or not found.succeeded:
                return False
            entry = found
        return True

    def position(self) -> int:
        """The update whose state is the present one. A rollback stands for its target, and a refresh that found nothing
        for the update before it.
        """
        entries = self._history.entries
        index_of = {entry.number: index for index, entry in enumerate(entries)}
        index = len(entries) - 1
        while (older := self._same_as(entries, index)) is not None:
            if older not in index_of or index_of[older] >= index:  # files were removed, so that numbers changed
                break
            index = index_of[older]
        return entries[index].number

    def unfinished(self) -> UpdateInfo | None:
        """The target of the last update if it is a rollback that failed after it began; `None` otherwise, also for one
        that was refused. A refresh since then does not count.
        """
        entries = {entry.number: entry for entry in self._history.entries}
        last = next((each for each in reversed(entries.values()) if each.kind is not UpdateKind.REFRESH), None)
        if last is None or last.succeeded or not last.rollback or not self._is_of_all(last.rollback):
            return None
        target = entries.get(last.rollback.target)
        if target is None or not self._is_good(target) or self._left(last.number) == self._left(last.rollback.source):
            return None
        return target

    def _is_of_all(self, rollback: RollbackInfo) -> bool:
        """Whether it included all services in question."""
        return not rollback.services or (bool(self._services) and self._services <= {*rollback.services})

    def _same_as(self, entries: Sequence[UpdateInfo], index: int) -> int | None:
        """The number of an older update that left the same state; `None` if this one made a state of its own."""
        entry = entries[index]
        if not entry.succeeded:
            return None
        if entry.rollback:
            return entry.rollback.target if self._is_of_all(entry.rollback) else None
        if entry.kind is UpdateKind.REFRESH and index:
            before = entries[index - 1].number
            return before if self.fingerprint(before) == self.fingerprint(entry.number) != "" else None
        return None

    def _is_undone(self, number: int, state: str) -> bool:
        """Whether a rollback since update `number` left `state` behind; one that was already done, as by a setting in
        git, did not.
        """
        for entry in self._history.entries:
            rollback = entry.rollback
            if entry.number <= number or not entry.succeeded or not rollback:
                continue
            if rollback.source in self._succeeded and self.fingerprint(rollback.source) == state:
                after = self.fingerprint(entry.number) or self.fingerprint(rollback.target)
                if after != state:
                    return True
        return False

    def fingerprint(self, number: int) -> str:
        """The fingerprint of a state; empty if it cannot be read or lacks one of the services: it is no target."""
        if number not in self._fingerprints:
            try:
                state = self._history.checkpoint(number)
            except SlipwayError:
                self._fingerprints[number] = ""
            else:
                there = not self._services or self._services <= {each.service for each in objects(state).values()}
                self._fingerprints[number] = fingerprint(state, self._services) if there else ""
        return self._fingerprints[number]

    def _left(self, number: int) -> tuple[str, bool] | None:
        try:
            state = self._history.checkpoint(number)
        except SlipwayError:
            return None
        return fingerprint(state), is_settled(state)


@dataclass(frozen=True)
class UnfinishedRollback:
    """A rollback from update `source` to `target`, of these services or of all."""

    source: int
    target: int
    services: tuple[str, ...] = ()


@contextmanager
def mark_in_progress(stack: Stack, rollback: UnfinishedRollback) -> Iterator[Callable[[], None]]:
    """Remember the rollback until the block ends, also with an error; longer if the yielded function was called.

    Call it if the engine was killed, which leaves no record of the rollback, or was interrupted.
    """
    file, cut_off = stack.own_file("rollbacks"), threading.Event()
    with suppress(OSError):  # a full disk must not prevent a rollback
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(rollback)), encoding="utf-8")
    try:
        yield cut_off.set
    finally:
        if not cut_off.is_set():
            with suppress(OSError):
                file.unlink(missing_ok=True)


def resume_target(stack: Stack, entries: Sequence[UpdateInfo], services: Sequence[str]) -> int | None:
    """The target of a rollback of `services` that was cut off; `None` if there is none, or an update came since.

    `entries` are the history, oldest first. The recovery from a kill is recorded in it too, but is no update. The
    rollback itself may also be recorded, as failed.
    """
    try:
        unfinished = UnfinishedRollback(**json.loads(stack.own_file("rollbacks").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or an invalid one
        return None
    updates = [
        entry for entry in entries if not (entry.kind is UpdateKind.REFRESH and entry.message == RECOVERY_MESSAGE)
    ]
    last = updates[-1] if updates else None
    ends = (unfinished.source, unfinished.target)
    if last and last.rollback and not last.succeeded and (last.rollback.source, last.rollback.target) == ends:
        updates.pop()
    is_newest = [entry.number for entry in updates[-1:]] == [unfinished.source]
    return unfinished.target if is_newest and sorted(unfinished.services) == sorted(services) else None
