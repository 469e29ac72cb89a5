"""Compares every recorded input of one state with its counterpart in another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.engine.events import Urn
from slipway.state.checkpoint import ResourceState
from slipway.values import Path, opened, same, walk


@dataclass(frozen=True)
class Comparison:
    """`equal` of `total` recorded inputs are the same; `differences` names every one that is not, without its value."""

    equal: int
    total: int
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.equal}/{self.total}"


def compared(recorded: Mapping[str, ResourceState], actual: Mapping[str, ResourceState]) -> Comparison:
    """Compare each input of each recorded object with the actual one, both decrypted; additional ones count as well."""
    equal, total, differences = 0, 0, []
    for urn, each in recorded.items():
        then = _leaves(each)
        now = _leaves(actual[urn]) if urn in actual else {}
        unequal = [path for path, value in then.items() if path not in now or not same(value, now[path])]
        beyond = (path for path in now if path not in then)
        total += len(then)
        equal += len(then) - len(unequal)
        differences += [f"{Urn(urn)}: {_words(path)}" for path in (*unequal, *beyond)]
    differences += [f"{Urn(urn)}: exists and should not" for urn in actual if urn not in recorded]
    return Comparison(equal, total, tuple(differences))


def _leaves(resource: ResourceState) -> dict[Path, Any]:
    """Each input by its path."""
    return dict(walk(opened(resource.inputs)))


def _words(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
