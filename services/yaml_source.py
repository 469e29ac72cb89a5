"""YAML files read so that every value knows the line it stands on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


class YamlError(ValueError):
    """The file is no YAML mapping; the message names file and line."""


@dataclass(frozen=True)
class YamlSource:
    """A parsed mapping and the 1-based line of each of its keys, by key path: `("health", "live") -> 12`."""

    file: Path
    data: dict[str, Any]
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Line of the value at `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def has(self, path: KeyPath) -> bool:
        """Whether the file itself says something at this path."""
        return path in self.lines


def read(file: Path, *, shown_as: Path | None = None) -> YamlSource:
    """Parse `file`; `shown_as` is the name that messages use.

    Raises YamlError for text that is no YAML, for a document that is no mapping and for a key given twice,
    which plain YAML readers would overwrite silently.
    """
    shown = shown_as or file
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{shown}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"{shown}:1: not valid YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise YamlError(f"{shown}:1: a mapping of keys to values is wanted here, as in `name: my-service`")
    lines: dict[KeyPath, int] = {}
    _collect(node, (), lines, shown)
    return YamlSource(shown, data, lines)


def _collect(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], shown: Path) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect(item, (*path, index), lines, shown)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                raise YamlError(f"{shown}:{line}: `{key.value}` is given twice, first on line {lines[here]}")
            lines[here] = line
            _collect(value, here, lines, shown)
