"""The sizes, operations and pairs that the benchmark runs. Parsed once, from the variables of `make bench`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from slipway.errors import ConfigurationError

REAL = "real"
REAL_SERVICES = 5
# The lab's services get addresses of one /16, and a run of this many takes hours.
MAX_SERVICES = 500
MIN_PAIRS = 1
DEFAULT_SIZES = "2 10 50 200 real"
DEFAULT_PAIRS = 5


class Operation(StrEnum):
    """The timed operations, in the order of a round: each leaves the state that the next one needs. HISTORY comes last,
    once, after all rounds.
    """

    INSTALL = "install"
    UNCHANGED = "unchanged"
    BARE = "bare"
    GATE = "gate"
    ONE = "one"
    ROLLBACK_ONE = "rollback-one"
    ALL = "all"
    ROLLBACK_ALL = "rollback-all"
    HISTORY = "history"


TITLES = {
    Operation.INSTALL: "first install",
    Operation.UNCHANGED: "nothing changed",
    Operation.BARE: "nothing changed, `pulumi up`",
    Operation.GATE: "gate alone",
    Operation.ONE: "one service changed",
    Operation.ROLLBACK_ONE: "rollback of one",
    Operation.ALL: "all changed",
    Operation.ROLLBACK_ALL: "rollback of all",
    Operation.HISTORY: "history of 1,000 updates",
}


@dataclass(frozen=True)
class Size:
    """How many services; `real` ones run a pod each and answer, others have no replicas."""

    services: int
    real: bool = False

    def __str__(self) -> str:
        return f"{self.services} {REAL}" if self.real else str(self.services)

    @classmethod
    def parse(cls, text: str) -> Size:
        """Parse the text of `str`."""
        number, _, kind = text.partition(" ")
        return cls(int(number), kind == REAL)


@dataclass(frozen=True)
class Choice:
    """One run: every size with every operation, `pairs` times."""

    sizes: tuple[Size, ...]
    operations: tuple[Operation, ...]
    pairs: int


def parse(sizes: str, operations: str, pairs: str) -> Choice:
    """Parse the three variables. Raises ConfigurationError, which names the allowed values, if one is invalid."""
    chosen = tuple(dict.fromkeys(_size(word) for word in (sizes or DEFAULT_SIZES).split()))
    named = {_operation(word) for word in operations.split()} or set(Operation)
    pairs = pairs or str(DEFAULT_PAIRS)
    if not _is_number(pairs) or int(pairs) < MIN_PAIRS:
        raise ConfigurationError(
            f"PAIRS is {pairs!r}.",
            why=f"Allowed are numbers from {MIN_PAIRS}.",
            next_step="For example: make bench PAIRS=5",
        )
    return Choice(chosen, tuple(each for each in Operation if each in named), int(pairs))


def _size(word: str) -> Size:
    if word == REAL:
        return Size(REAL_SERVICES, real=True)
    if not _is_number(word) or not 1 <= int(word) <= MAX_SERVICES:
        raise ConfigurationError(
            f"N has {word!r}, which is no number of services.",
            why=f"Allowed are numbers from 1 to {MAX_SERVICES}, and `{REAL}` for {REAL_SERVICES} services that answer.",
            next_step=f'For example: make bench N="{DEFAULT_SIZES}"',
        )
    return Size(int(word))


def _operation(word: str) -> Operation:
    try:
        return Operation(word)
    except ValueError as error:
        nearest = difflib.get_close_matches(word, list(Operation), n=1)
        raise ConfigurationError(
            f"OPERATIONS has {word!r}, which is no operation.",
            why=f"Allowed are {', '.join(Operation)}." + (f" Did you mean {nearest[0]}?" if nearest else ""),
            next_step='For example: make bench OPERATIONS="unchanged one"',
        ) from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def first_of(sizes: Sequence[Size]) -> Size:
    """The size at which the history is timed; the number of services matters little to it."""
    return min(sizes, key=lambda size: (size.real, size.services))
