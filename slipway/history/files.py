"""The history in the files of a self-managed backend: a folder on disk, or a bucket, through fsspec.

Layout and names are those of pulumi's pkg/backend/diy: for each update `STACK-<nanoseconds>.history.json` and
`.checkpoint.json`, either of them with `.gz` or `.zst`; what is beside them (`.attrs`, `.bak`) is somebody else's.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from fsspec import AbstractFileSystem

from slipway.errors import ConfigurationError, SlipwayError
from slipway.history.source import Deployment, Record, UnreadableError

COMPRESSIONS = ("", ".gz", ".zst")
UPDATE, CHECKPOINT = ".history.json", ".checkpoint.json"
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
NANOSECONDS = 1_000_000_000
PROJECT_LAYOUT = 1


@dataclass(frozen=True)
class BackendFiles:
    """A self-managed backend whose `.pulumi` is in the folder `root` of `filesystem`."""

    filesystem: AbstractFileSystem = field(repr=False)
    root: str
    project: str
    stack: str

    def records(self) -> list[Record]:
        """One for each stamp among the names, whatever of its two files is there."""
        sizes = self._sizes(self._folder("history", self.stack))
        found: dict[int, dict[str, str]] = {}
        for path in sorted(sizes):
            if stamped := self._stamp(path.rsplit("/", 1)[-1]):
                stamp, part = stamped
                found.setdefault(stamp, {})[part] = path
        return [
            _record(number, stamp, found[stamp], sizes, f"{self.stack}-{stamp}")
            for number, stamp in enumerate(sorted(found), start=1)
        ]

    def updates(self, records: Sequence[Record]) -> list[Deployment | UnreadableError]:
        """Read all at once: from a bucket, one after the other would take minutes."""
        paths = [record.update for record in records]
        contents = self._contents(paths)
        return [_tried(path, contents[path]) for path in paths]

    def checkpoint(self, record: Record) -> Deployment:
        return _deployment(self._read(record.checkpoint), record.checkpoint)

    def present(self) -> Deployment | None:
        """The newest of the stack's files: the engine leaves the old one when its compression is changed."""
        folder = self._folder("stacks")
        names = {f"{self.stack}.json{compression}" for compression in COMPRESSIONS}
        files = [each for each in self._list(folder) if each["name"].rsplit("/", 1)[-1] in names]
        if not files:
            return None
        path = max(files, key=_modified)["name"]
        return _deployment(self._read(path), path)

    def _folder(self, *parts: str) -> str:
        first, *rest = parts
        scope = [self.project] if self._has_projects() else []
        return "/".join([self.root.rstrip("/"), ".pulumi", first, *scope, *rest])

    def _has_projects(self) -> bool:
        """Whether stacks are kept by project; those of before version 1 are not."""
        try:
            content = yaml.safe_load(self.filesystem.cat_file(f"{self.root.rstrip('/')}/.pulumi/meta.yaml"))
        except FileNotFoundError:
            return False
        except (OSError, yaml.YAMLError) as error:
            raise self._unreachable(error) from error
        return isinstance(content, dict) and content.get("version") == PROJECT_LAYOUT

    def _stamp(self, name: str) -> tuple[int, str] | None:
        """When the update ended and which of its files this is; `None` for a file that is neither."""
        for part in (UPDATE, CHECKPOINT):
            stem, found, compression = name.rpartition(part)
            stack, _, stamp = stem.rpartition("-")
            if found and compression in COMPRESSIONS and stack == self.stack and stamp.isdecimal():
                return int(stamp), part
        return None

    def _sizes(self, folder: str) -> dict[str, int]:
        return {each["name"]: each.get("size") or 0 for each in self._list(folder) if each["type"] == "file"}

    def _list(self, folder: str) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self.filesystem.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._unreachable(error) from error
        return found

    def _contents(self, paths: Sequence[str]) -> dict[str, Any]:
        """The bytes of each file, or the error met."""
        if not paths:
            return {}
        found: dict[str, Any] = self.filesystem.cat(list(paths), on_error="return")
        return found

    def _read(self, path: str) -> Deployment:
        content = _tried(path, self._contents([path])[path])
        if isinstance(content, UnreadableError):
            raise content
        return content

    def _unreachable(self, error: Exception) -> SlipwayError:
        return ConfigurationError(
            f"The backend {self.root} cannot be read.",
            why=f"{type(error).__name__}: {error}",
            next_step=f"`pulumi stack ls` and `pulumi stack history -s {self.stack}` show what the engine says of it.",
        )


def _record(number: int, stamp: int, files: dict[str, str], sizes: dict[str, int], name: str) -> Record:
    update, checkpoint = files.get(UPDATE, ""), files.get(CHECKPOINT, "")
    missing = [f"{name}{part} is missing" for part in (UPDATE, CHECKPOINT) if part not in files]
    empty = [f"{path} is empty" for path in files.values() if not sizes[path]]
    finished = datetime.fromtimestamp(stamp / NANOSECONDS, UTC)
    return Record(number, finished, update, checkpoint, problem="; ".join([*missing, *empty]))


def _modified(file: dict[str, Any]) -> float:
    """Seconds since 1970, under whichever name the file system has it."""
    for key in ("mtime", "LastModified", "last_modified", "updated"):
        value = file.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
        if value is not None:
            return float(value)
    return 0.0


def _deployment(content: Deployment, path: str) -> Deployment:
    """What `latest` holds, with a list of resources also where the engine left it out because there are none."""
    checkpoint = content.get("checkpoint")
    latest = checkpoint.get("latest") if isinstance(checkpoint, dict) else None
    if not isinstance(checkpoint, dict) or not isinstance(latest or {}, dict):
        raise UnreadableError(f"{path} is not a checkpoint: it has no `checkpoint`")
    return {**(latest or {}), "resources": (latest or {}).get("resources") or []}


def _tried(path: str, content: bytes | Exception) -> Deployment | UnreadableError:
    """The JSON object in the file, or what is wrong with it."""
    if isinstance(content, Exception):
        return UnreadableError(f"{path} cannot be read: {type(content).__name__}: {content}")
    try:
        parsed = json.loads(decompressed(content))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        return UnreadableError(f"{path} is truncated or corrupt: {error}")
    return parsed if isinstance(parsed, dict) else UnreadableError(f"{path} is corrupt: it holds no JSON object")


def decompressed(content: bytes) -> bytes:
    """Go by what the content is, as the engine does, not by the file's name; ValueError for what cannot be opened."""
    if content.startswith(GZIP_MAGIC):
        return gzip.decompress(content)
    if content.startswith(ZSTD_MAGIC):
        import zstandard  # noqa: PLC0415 -- seldom needed

        try:
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                return reader.read()
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    return content
