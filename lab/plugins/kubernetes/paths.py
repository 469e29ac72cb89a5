"""Property paths such as `spec.containers[0].env` or `metadata.labels["a.b/c"]`, as Pulumi writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_PART = re.compile(r'\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|(\[\*\])|\.?([^.\[\]"]+)')
ANY = "*"
MISSING: Any = type("Missing", (), {"__repr__": lambda _self: "MISSING"})()


@dataclass(frozen=True)
class Path:
    """Keys and indices from the root; `*` stands for any index."""

    parts: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> Path:
        """Raises `ValueError` for text that is no path."""
        parts: list[str | int] = []
        position = 0
        while position < len(text):
            match = _PART.match(text, position)
            if not match:
                raise ValueError(f"{text!r} is no property path")
            index, quoted, wildcard, key = match.groups()
            if index is not None:
                parts.append(int(index))
            else:
                parts.append(ANY if wildcard else key or re.sub(r"\\(.)", r"\1", quoted or ""))
            position = match.end()
        return cls(tuple(parts))

    def __str__(self) -> str:
        text = ""
        for part in self.parts:
            if isinstance(part, int):
                text += f"[{part}]"
            elif any(sign in part for sign in '."[]'):
                escaped = part.replace('"', '\\"')
                text += f'["{escaped}"]'
            else:
                text += f".{part}" if text else part
        return text

    def __truediv__(self, part: str | int) -> Path:
        return Path((*self.parts, part))

    def covers(self, other: Path) -> bool:
        """Whether `other` is this path or lies below it."""
        if len(self.parts) > len(other.parts):
            return False
        return all(mine in (ANY, theirs) for mine, theirs in zip(self.parts, other.parts, strict=False))

    def find(self, data: Any) -> Any:
        """The value at this path, or `MISSING`."""
        for part in self.parts:
            data = _step(data, part)
        return data

    def placed(self, data: Any, value: Any) -> Any:
        """A copy of `data` with the value at this path; `MISSING` takes out what is there."""
        if not self.parts:
            return value
        part, rest = self.parts[0], Path(self.parts[1:])
        inner = rest.placed(_step(data, part), value)
        if isinstance(part, int):
            return _with_item(data, part, inner)
        entries = dict(data) if isinstance(data, dict) else {}
        if inner is not MISSING:
            return {**entries, part: inner}
        entries.pop(part, None)
        return entries


def _step(data: Any, part: str | int) -> Any:
    if isinstance(part, int):
        return data[part] if isinstance(data, list) and part < len(data) else MISSING
    return data.get(part, MISSING) if isinstance(data, dict) else MISSING


def _with_item(data: Any, index: int, item: Any) -> Any:
    items = list(data) if isinstance(data, list) else []
    return [*items[:index], *([] if item is MISSING else [item]), *items[index + 1 :]]


ROOT = Path(())


def leaves(data: Any, prefix: Path = ROOT) -> Iterator[tuple[Path, Any]]:
    """Every path at which an object or list ends."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from leaves(value, prefix / key)
    elif isinstance(data, list) and data:
        for index, value in enumerate(data):
            yield from leaves(value, prefix / index)
    else:
        yield prefix, data
