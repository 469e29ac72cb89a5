"""An order in which each thing comes after what it needs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Key = TypeVar("Key", str, int)


def in_order(known: Iterable[Key], needed: Callable[[Key], Iterable[Key]]) -> Iterator[Key]:
    """Each of `known` once, what it needs first, otherwise in the order given.

    A circle, which states of two times may make together, is entered anywhere.
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
