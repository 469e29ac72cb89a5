"""What a self-managed backend is to its reader: names, sizes, times and contents of files; and the one on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class StoredFile:
    """A file without its content; `name` is without its folder."""

    name: str
    size: int
    modified: datetime


class Storage(Protocol):
    """A tree of files; paths are relative to its root, with `/`. Errors of the whole of it are raised."""

    def files(self, folder: str) -> list[StoredFile]:
        """The files in `folder` itself, in no order; none for a folder that does not exist."""
        ...

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        """What is in each file, or why that file cannot be read."""
        ...

    def place(self, path: str) -> str:
        """The file as a user would name it."""
        ...


@dataclass(frozen=True)
class Folder:
    """Storage in a folder of this machine."""

    root: Path

    def files(self, folder: str) -> list[StoredFile]:
        try:
            paths = [path for path in (self.root / folder).iterdir() if path.is_file()]
        except FileNotFoundError:
            return []
        found = ((path.name, path.stat()) for path in paths)
        return [StoredFile(name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)) for name, stat in found]

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        return {path: self._content(path) for path in paths}

    def _content(self, path: str) -> bytes | OSError:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            return error

    def place(self, path: str) -> str:
        return str(self.root / path)
