"""The difference between two sets of inputs, path by path, and which of the changes replace the object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lab.plugins.kubernetes.paths import MISSING, ROOT, Path, leaves
from lab.plugins.kubernetes.values import UNKNOWN

ChangeKind = Literal["ADD", "DELETE", "UPDATE"]


@dataclass(frozen=True)
class Change:
    """One path that differs; `value` is the new value, or `MISSING`."""

    path: Path
    kind: ChangeKind
    value: Any
    replaces: bool = False


def changes(old: Any, new: Any, path: Path = ROOT) -> Iterator[Change]:
    """Where `new` differs from `old`; objects and lists are walked, lists by position."""
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _dict_changes(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_changes(old, new, path)
    elif old is MISSING and new is not MISSING:
        yield Change(path, "ADD", new)
    elif new is MISSING:
        if old is not MISSING:
            yield Change(path, "DELETE", MISSING)
    elif new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Change(path, "UPDATE", new)


def _dict_changes(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> Iterator[Change]:
    for key in {**old, **new}:
        yield from changes(old.get(key, MISSING), new.get(key, MISSING), path / key)


def _list_changes(old: list[Any], new: list[Any], path: Path) -> Iterator[Change]:
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else MISSING
        after = new[index] if index < len(new) else MISSING
        yield from changes(before, after, path / index)


def replaces(change: Change, replacing: list[Path]) -> bool:
    """Whether the change lies at or below a replacing field, or brings one with it."""
    if any(field.covers(change.path) for field in replacing):
        return True
    if change.value is MISSING:
        return change.path.parts == ("metadata",)
    below = [path for path, _ in leaves(change.value, change.path)]
    return any(field.covers(path) for field in replacing for path in below)
