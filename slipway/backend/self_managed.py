"""The history in the files of a self-managed backend, wherever these are stored.

Layout and names are those of pulumi's pkg/backend/diy: for each update `STACK-<nanoseconds>.history.json` and
`.checkpoint.json`, either of them with `.gz` or `.zst`; what is beside them (`.attrs`, `.bak`) is somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import yaml
from pydantic_core import from_json

from slipway.backend.compression import COMPRESSIONS, decompressed
from slipway.backend.source import Record, UnreadableError
from slipway.backend.storage import Storage, StoredFile
from slipway.errors import ConfigurationError, SlipwayError
from slipway.state.checkpoint import Snapshot

UPDATE, CHECKPOINT = ".history.json", ".checkpoint.json"
NANOSECONDS = 1_000_000_000
META = ".pulumi/meta.yaml"
LOCK = ".json"
PROJECT_LAYOUT = 1
URN_MARKS = 3


@dataclass(frozen=True)
class BackendFiles:
    """One stack of the self-managed backend in `storage`."""

    storage: Storage = field(repr=False)
    project: str
    stack: str

    @property
    def place(self) -> str:
        return f"{self.storage.place('')} {self.project}/{self.stack}"

    def records(self) -> list[Record]:
        """One for each stamp among the names, whatever of its two files is there."""
        folder = self._folder("history", self.stack)
        found: dict[int, dict[str, StoredFile]] = {}
        for file in sorted(self._list(folder), key=lambda each: each.name):
            if stamped := self._stamp(file.name):
                stamp, part = stamped
                found.setdefault(stamp, {})[part] = file
        return [
            _record(number, stamp, found[stamp], f"{folder}/{self.stack}-{stamp}")
            for number, stamp in enumerate(sorted(found), start=1)
        ]

    def updates(self, records: Sequence[Record]) -> list[Snapshot | UnreadableError]:
        """All are read at once: from a bucket, one after the other would take minutes."""
        contents = self.storage.read([record.update for record in records])
        return [self._parsed(record.update, contents[record.update]) for record in records]

    def checkpoint(self, record: Record) -> Snapshot:
        return self._deployment(record.checkpoint)

    def present(self) -> Snapshot | None:
        """The newest of the stack's files: the engine leaves the old one when its compression is changed."""
        folder = self._folder("stacks")
        names = {f"{self.stack}.json{compression}" for compression in COMPRESSIONS}
        files = [file for file in self._list(folder) if file.name in names]
        if not files:
            return None
        return self._deployment(f"{folder}/{max(files, key=lambda file: file.modified).name}")

    def is_held(self) -> bool:
        whole = f"organization/{self.project}/{self.stack}" if self._has_projects() else self.stack
        return any(file.name.endswith(LOCK) for file in self._list(f".pulumi/locks/{whole}"))

    def _folder(self, *parts: str) -> str:
        first, *rest = parts
        return "/".join([".pulumi", first, *([self.project] if self._has_projects() else []), *rest])

    def _has_projects(self) -> bool:
        """Whether stacks are kept by project; those of before version 1 are not."""
        content = self.storage.read([META])[META]
        if isinstance(content, FileNotFoundError):
            return False
        try:
            if isinstance(content, OSError):
                raise content
            meta = yaml.safe_load(content)
        except (OSError, yaml.YAMLError) as error:
            raise self._unreachable(error) from error
        return isinstance(meta, dict) and meta.get("version") == PROJECT_LAYOUT

    def _stamp(self, name: str) -> tuple[int, str] | None:
        """When the update ended and which of its files this is; `None` for a file that is neither."""
        for part in (UPDATE, CHECKPOINT):
            stem, found, compression = name.rpartition(part)
            stack, _, stamp = stem.rpartition("-")
            if found and compression in COMPRESSIONS and stack == self.stack and _is_time(stamp):
                return int(stamp), part
        return None

    def _list(self, folder: str) -> list[StoredFile]:
        try:
            return self.storage.files(folder)
        except OSError as error:
            raise self._unreachable(error) from error

    def _parsed(self, path: str, content: bytes | OSError) -> Snapshot | UnreadableError:
        """The JSON object in the file, or what is wrong with it."""
        place = self.storage.place(path)
        if isinstance(content, OSError):
            return UnreadableError(f"{place} cannot be read: {content}")
        try:
            # A state has megabytes: this takes two thirds of the time that json.loads does.
            parsed = from_json(decompressed(content), cache_strings="keys")
        except ValueError as error:
            return UnreadableError(f"{place} is truncated or corrupt: {error}")
        return parsed if isinstance(parsed, dict) else UnreadableError(f"{place} is corrupt: it holds no JSON object")

    def _deployment(self, path: str) -> Snapshot:
        """What `latest` holds, with a list of resources also where the engine left it out because there are none."""
        content = self._parsed(path, self.storage.read([path])[path])
        if isinstance(content, UnreadableError):
            raise content
        checkpoint = content.get("checkpoint")
        latest = (checkpoint.get("latest") or {}) if isinstance(checkpoint, dict) else None
        resources = (latest.get("resources") or []) if isinstance(latest, dict) else None
        if latest is None or not isinstance(resources, list) or not all(map(_is_resource, resources)):
            raise UnreadableError(f"{self.storage.place(path)} is corrupt: it holds no state of a stack")
        return {**latest, "resources": resources}

    def _unreachable(self, error: Exception) -> SlipwayError:
        return ConfigurationError(
            f"The backend {self.storage.place('')} cannot be read.",
            why=f"{type(error).__name__}: {error}",
            next_step=f"`pulumi stack history -s {self.stack}` shows what the engine says of it.",
        )


def _is_time(stamp: str) -> bool:
    """Nanoseconds since 1970, which the engine keeps in 64 bits."""
    return stamp.isdecimal() and int(stamp) < 1 << 63


def _is_resource(raw: object) -> bool:
    """Whether it can be told what it is: `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
    return isinstance(raw, dict) and isinstance(raw.get("type"), str) and str(raw.get("urn")).count("::") >= URN_MARKS


def _record(number: int, stamp: int, files: Mapping[str, StoredFile], name: str) -> Record:
    missing = [f"{name.rpartition('/')[-1]}{part} is missing" for part in (UPDATE, CHECKPOINT) if part not in files]
    empty = [f"{file.name} is empty" for file in files.values() if not file.size]
    paths = {part: f"{name.rpartition('/')[0]}/{file.name}" for part, file in files.items()}
    finished = datetime.fromtimestamp(stamp / NANOSECONDS, UTC)
    problem = "; ".join([*missing, *empty])
    size = files[CHECKPOINT].size if CHECKPOINT in files else 0
    return Record(number, finished, paths.get(UPDATE, ""), paths.get(CHECKPOINT, ""), problem, size)
