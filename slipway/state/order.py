"""An order in which each item comes after the items that it needs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Key = TypeVar("Key", str, int)


def in_order(known: Iterable[Key], needed: Callable[[Key], Iterable[Key]]) -> Iterator[Key]:
    """Each of `known` once, after those that it needs, otherwise in the order given.

    A cycle, which can result from a mix of two states, is entered anywhere.
    """
    everything = list(known)
    waiting = set(everything)

    def unbegun(keys: Iterable[Key]) -> Iterator[Key]:
        for key in keys:
            if key in waiting:
                waiting.remove(key)
                yield key

    for root in everything:
        way, path = [unbegun([root])], []
        while way:
            if (key := next(way[-1], None)) is not None:
                path.append(key)
                way.append(unbegun(needed(key)))
                continue
            way.pop()
            if path:
                yield path.pop()
