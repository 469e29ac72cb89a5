"""Which recorded state a rollback goes to when nobody says: the newest good one that differs from the present."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.errors import ConfigurationError, SlipwayError
from slipway.history import Entry, History, Kind
from slipway.state.checkpoint import Deployment, fingerprint, is_settled, resources

# A refresh records what others did to the cluster, a destroy nothing: neither is a release.
RELEASES = (Kind.UPDATE, Kind.ROLLBACK, Kind.IMPORT)


def default_target(history: History, present: Deployment) -> Entry:
    """The newest successful state that differs from the present one and was not itself rolled back from.

    Right after a rollback that means one older than what was rolled back to, not the one just left. States that differ
    in nothing but the value of a Secret that keeps its name count as equal. Raises ConfigurationError where there is
    no such state.
    """
    states = _States(history)
    now, position = _outcome(present, history.entries[-1]), _position(history.entries)
    for entry in states.good_releases():
        if entry.number <= position and states.fingerprint(entry.number) != now:
            return entry
    raise ConfigurationError(
        f"{history.stack} has no earlier state to go back to.",
        why="No update before the present state succeeded with another outcome, or each was rolled back from.",
        next_step=f"`slipway history -s {history.stack}` lists them; name one with --to.",
    )


def last_good(history: History) -> Entry | None:
    """The newest release that succeeded and was not rolled back from: where a failed update came from."""
    return next(_States(history).good_releases(), None)


def _outcome(present: Deployment, last: Entry) -> str:
    """What the present state is known by; empty where an update came to no end, which is no state of its own.

    A success may leave replaced objects to the next update: the engine deletes nothing that a resource depends on which
    it was told to leave alone.
    """
    kept = present if not last.succeeded else {**present, "resources": [each.raw for each in resources(present)]}
    return fingerprint(present) if is_settled(kept) else ""


class _States:
    """The recorded states, each read once, when it is asked for."""

    def __init__(self, history: History) -> None:
        self._history = history
        # What a failed update left is no release; its inputs may be those of the one before.
        self._succeeded = {entry.number for entry in history.entries if entry.succeeded}
        self._fingerprints: dict[int, str] = {}

    def good_releases(self) -> Iterator[Entry]:
        """Newest first. A later release of what was once rolled back from is a release like any other."""
        for entry in reversed(self._history.entries):
            if entry.succeeded and not entry.problem and entry.kind in RELEASES:
                state = self.fingerprint(entry.number)
                if state and not self._is_undone(entry.number, state):
                    yield entry

    def _is_undone(self, number: int, state: str) -> bool:
        later = (entry for entry in self._history.entries if entry.number > number and entry.succeeded)
        return any(self._undoes(entry, state) for entry in later if entry.rollback)

    def _undoes(self, entry: Entry, state: str) -> bool:
        """Whether that rollback left `state`; one that found it done already, as a setting in git says, did not."""
        rollback = entry.rollback
        if rollback is None or rollback.source not in self._succeeded or self.fingerprint(rollback.source) != state:
            return False
        return (self.fingerprint(entry.number) or self.fingerprint(rollback.target)) != state

    def fingerprint(self, number: int) -> str:
        """Empty for a state that cannot be read: nothing to go back to."""
        if number not in self._fingerprints:
            try:
                self._fingerprints[number] = fingerprint(self._history.checkpoint(number))
            except SlipwayError:
                self._fingerprints[number] = ""
        return self._fingerprints[number]


def _position(entries: tuple[Entry, ...]) -> int:
    """The update whose state is the present one: what a rollback went to stands for the rollback."""
    by_number: Mapping[int, Entry] = {entry.number: entry for entry in entries}
    number = entries[-1].number
    while (entry := by_number.get(number)) and entry.succeeded and entry.rollback and not entry.rollback.services:
        number = entry.rollback.target
    return number
