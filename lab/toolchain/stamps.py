"""The stamp of an installed part: its version, its origin, and marks that show whether its files have changed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.toolchain.files import write_atomically

STAMP = "stamp.json"


@dataclass(frozen=True)
class FileMark:
    """Size and time show quickly that a file is as it was installed; the hash proves it."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Stamp:
    """`source` is `PATH`, `download`, `build` or `fallback`; `origin` the path, URL or compiler; `recipe` a hash of
    everything that goes into the build, so that a part with a changed pin is rebuilt."""

    part: str
    version: str
    source: str
    origin: str
    recipe: str
    files: dict[str, FileMark] = field(default_factory=dict)


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def mark_files(folder: Path) -> dict[str, FileMark]:
    """Marks of every file below `folder/bin`; a link has the mark of its target."""
    hashes: dict[Path, str] = {}
    marks = {}
    for path in sorted((folder / "bin").iterdir()):
        status = path.stat()
        marks[path.name] = FileMark(status.st_size, status.st_mtime_ns, _hash_once(path, hashes))
    return marks


def settle(folder: Path) -> None:
    """Write the files below `folder/bin` to the disk: after a power cut no stamp must refer to empty ones."""
    for path in (folder / "bin").iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def write_stamp(folder: Path, stamp: Stamp) -> None:
    write_atomically(folder / STAMP, json.dumps(asdict(stamp), indent=2) + "\n", mode=0o644)


def read_stamp(folder: Path) -> Stamp | None:
    """The stamp of `folder`; `None` if there is none or it cannot be read: then the part is installed again."""
    try:
        fields = json.loads((folder / STAMP).read_text())
        files = {name: FileMark(**mark) for name, mark in fields.pop("files").items()}
        return Stamp(**fields, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def changed_files(folder: Path, stamp: Stamp, *, thorough: bool = False) -> list[str]:
    """Names of the stamp's files that are gone or differ; `thorough` hashes them instead of trusting size and time."""
    changed = []
    hashes: dict[Path, str] = {}
    for name, mark in stamp.files.items():
        path = folder / "bin" / name
        try:
            status = path.stat()
            same = (status.st_size, status.st_mtime_ns) == (mark.size, mark.mtime_ns)
            if not same or (thorough and _hash_once(path, hashes) != mark.sha256):
                changed.append(name)
        except OSError:
            changed.append(name)
    return changed


def _hash_once(path: Path, hashes: dict[Path, str]) -> str:
    """The hash of the target of `path`, only once: several links may point to one large file."""
    target = path.resolve()
    if target not in hashes:
        hashes[target] = sha256_of(target)
    return hashes[target]
