"""The files of a self-managed backend: names, sizes, times and contents. Implemented here for a local folder."""

from __future__ import annotations

import shutil
import stat
import uuid
from collections.abc import Callable, Sequence
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
    """A tree of files; paths are relative to its root, with `/`. Errors of the tree itself are raised."""

    def files(self, folder: str) -> list[StoredFile]:
        """The files in `folder` itself, in no order; empty if the folder does not exist."""
        ...

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        """The content of each file, or the error if it cannot be read."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write the file, as a whole or not at all; raises OSError."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Copy a file; raises OSError."""
        ...

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files; one that is missing is no error. Raises OSError."""
        ...

    def place(self, path: str) -> str:
        """The path or URL of the file, for messages."""
        ...


@dataclass(frozen=True)
class Folder:
    """Storage in a folder of this machine."""

    root: Path

    def files(self, folder: str) -> list[StoredFile]:
        try:
            paths = list((self.root / folder).iterdir())
        except FileNotFoundError:
            return []
        return [file for path in paths if (file := _stored(path))]

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        return {path: self._content(path) for path in paths}

    def _content(self, path: str) -> bytes | OSError:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            return error

    def write(self, path: str, content: bytes) -> None:
        self._put(path, lambda partial: partial.write_bytes(content))

    def copy(self, source: str, target: str) -> None:
        self._put(target, lambda partial: shutil.copyfile(self.root / source, partial))

    def _put(self, path: str, fill: Callable[[Path], object]) -> None:
        """Fill a file elsewhere, which another process would take for a lock or a state, and give it its name."""
        file, partial = self.root / path, self.root / ".pulumi" / f"{uuid.uuid4()}.partial"
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            fill(partial)
            if file.exists():
                shutil.copymode(file, partial)
            file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)  # the engine's hash of the old content
            partial.rename(file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    def place(self, path: str) -> str:
        return str(self.root / path)


def _stored(path: Path) -> StoredFile | None:
    """`None` for a folder, and for a file removed since it was listed: the engine writes and locks in parallel."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return StoredFile(path.name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
