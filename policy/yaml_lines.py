"""Reads the YAML files of this folder so that every complaint names file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

KeyPath = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class PolicyFileError(ValueError):
    """Everything that is wrong with a file of this folder, one problem a line, each with file and line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass
class YamlFile:
    """A parsed mapping and the 1-based line of everything in it."""

    file: Path
    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> YamlFile:
        """Raises PolicyFileError for a file that is missing or no YAML mapping, and for a key given twice."""
        found = cls(file)
        try:
            text = file.read_text(encoding="utf-8")
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            found.data = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise PolicyFileError([f"{found.name}:{line}: not valid YAML: {error.problem}"]) from error
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise PolicyFileError([f"{found.name}:1: cannot be read: {error}"]) from error
        if not isinstance(node, yaml.MappingNode):
            raise PolicyFileError([f"{found.name}:1: a mapping of keys to values is wanted here"])
        found._collect(node, ())
        return found

    @property
    def name(self) -> str:
        """As people know it: `policy/waivers.yaml`."""
        return f"{self.file.parent.name}/{self.file.name}"

    def where(self, path: KeyPath) -> str:
        """File and line of the value at `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"

    def parse(self, model: type[M]) -> M:
        """The data as `model`; raises PolicyFileError with every problem."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise PolicyFileError([self._explain(dict(detail)) for detail in error.errors()]) from error

    def _explain(self, detail: Mapping[str, Any]) -> str:
        path: KeyPath = tuple(detail["loc"])
        key = next((part for part in reversed(path) if isinstance(part, str)), "the file")
        if detail["type"] == "missing":
            return f"{self.where(path)}: `{key}` is missing"
        if detail["type"] == "extra_forbidden":
            return f"{self.where(path)}: unknown key `{key}`"
        message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
        return f"{self.where(path)}: `{key}` is {detail['input']!r}; {message}"

    def _collect(self, node: yaml.Node, path: KeyPath) -> None:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._collect(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, str(key.value))
                if here in self.lines:
                    where = f"{self.name}:{key.start_mark.line + 1}"
                    raise PolicyFileError([f"{where}: `{key.value}` is given twice, first on line {self.lines[here]}"])
                self.lines[here] = key.start_mark.line + 1
                self._collect(value, here)
