"""Reads the YAML files of this folder so that every problem names file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from services.yaml_source import KeyPath, YamlError, YamlSource, read

M = TypeVar("M", bound=BaseModel)


class PolicyFileError(ValueError):
    """All problems of a file of this folder, one per line, each with file and line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class YamlFile:
    """A parsed file of this folder."""

    source: YamlSource

    @classmethod
    def read(cls, file: Path) -> YamlFile:
        """Raises PolicyFileError for a file that is missing or no YAML mapping, and for a key given twice."""
        shown = Path(file.parent.name, file.name)  # as people know it: `policy/waivers.yaml`
        try:
            return cls(read(file, shown_as=shown, example=""))
        except YamlError as error:
            raise PolicyFileError([str(error)]) from error
        except OSError as error:
            raise PolicyFileError([f"{shown}:1: cannot be read: {error}"]) from error

    def where(self, path: KeyPath) -> str:
        """File and line of the value at `path`, or of the nearest value around it."""
        return f"{self.source.file}:{self.source.line(path)}"

    def parse(self, model: type[M]) -> M:
        """The data as `model`; raises PolicyFileError with every problem."""
        try:
            return model.model_validate(self.source.data)
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
