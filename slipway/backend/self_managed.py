"""Pulumi's self-managed backend, in a folder or a bucket: files of stacks, locks and history, and their compression.

Layout and names are those of pulumi's pkg/backend/diy: for each update `STACK-<nanoseconds>.history.json` and
`.checkpoint.json`, each optionally with `.gz` or `.zst`. Other files beside them (`.attrs`, `.bak`) are not history.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from pydantic_core import from_json

from slipway.backend.lock_holders import Lock
from slipway.backend.storage import Storage, StoredFile
from slipway.backend.update_info import Record, UnreadableError
from slipway.errors import ConfigurationError, SlipwayError
from slipway.state.checkpoint import Snapshot

COMPRESSIONS = ("", ".gz", ".zst")
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
FILE = "file://"
ORGANIZATION = "organization"
"""The engine's name for the owner of all stacks of a self-managed backend."""
CHECKPOINT_VERSION = 3
"""The version of a file that holds a state."""
UPDATE, CHECKPOINT = ".history.json", ".checkpoint.json"
NANOSECONDS = 1_000_000_000
META = ".pulumi/meta.yaml"
LOCK = ".json"
PROJECT_LAYOUT = 1
URN_MARKS = 3


def decompressed(content: bytes) -> bytes:
    """Decompress by the content, as the engine does, not by the file's name; raises ValueError if that fails."""
    if content.startswith(GZIP_MAGIC):
        try:
            return gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(str(error)) from error
    if content.startswith(ZSTD_MAGIC):
        import zstandard  # noqa: PLC0415 -- seldom needed

        try:
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                return reader.read()
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    return content


@dataclass(frozen=True)
class FileBackend:
    """`folder` is the folder of the `file://` URL, `project` the project's name."""

    folder: Path
    project: str

    def state(self, stack: str) -> dict[str, Any] | None:
        """The stack's parsed checkpoint file, `None` if missing; asking the engine takes a third of a second."""
        file = self._state_file(stack)
        if file is None:
            return None
        try:
            content: dict[str, Any] = json.loads(decompressed(file.read_bytes()))
        except ValueError as error:
            raise SlipwayError(
                f"The state of stack {stack} cannot be read: {file}: {error}",
                next_step=f"The state before it is {file}.bak; older ones are in {self._part('backups') / stack}.",
            ) from error
        return content

    def unreadable(self, stack: str) -> Path | None:
        """The file of the stack's state if it cannot be read (empty or truncated), else `None`."""
        file = self._state_file(stack)
        try:
            content = json.loads(decompressed(file.read_bytes())) if file else {}
        except ValueError:
            return file
        return None if isinstance(content, dict) else file

    def replace_state(self, stack: str, file: Path, snapshot: Mapping[str, Any]) -> Path:
        """Replace `file` with `snapshot`; the old file is kept beside it under the returned path."""
        kept = file.with_name(f"{file.name}.{datetime.now(UTC):%Y%m%d-%H%M%S}.refused")
        checkpoint = {"stack": f"{ORGANIZATION}/{self.project}/{stack}", "latest": snapshot}
        written = file.with_name(f"{stack}.json")
        partial = written.with_name(f"{written.name}.partial")
        partial.write_text(json.dumps({"version": CHECKPOINT_VERSION, "checkpoint": checkpoint}), encoding="utf-8")
        file.rename(kept)
        file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)  # a hash of the old content
        partial.rename(written)
        return kept

    def _state_file(self, stack: str) -> Path | None:
        files = [self._part("stacks") / f"{stack}.json{compression}" for compression in COMPRESSIONS]
        # The engine leaves the old file when its compression is changed.
        return max((file for file in files if file.exists()), key=lambda file: file.stat().st_mtime, default=None)

    def locks(self, stack: str) -> list[Lock]:
        found = []
        for file in (self._part("locks", ORGANIZATION) / stack).glob("*.json"):
            # The lock may have just been released, or not be fully written yet.
            with suppress(FileNotFoundError, ValueError, KeyError):
                content = json.loads(file.read_text(encoding="utf-8"))
                username, hostname, timestamp = (str(content[key]) for key in ("username", "hostname", "timestamp"))
                found.append(Lock(int(content["pid"]), username, hostname, timestamp, file))
        return found

    def repair(self, stack: str) -> list[Path]:
        """Remove half-written files of a killed engine; returns the removed `.attrs` files.

        States are written to a temporary file and renamed, but the attributes beside them are not. The engine does
        not read a state whose attributes are empty ("failed to load checkpoint: EOF"). The attributes are not needed.
        Call this only while the stack is not locked.
        """
        states = self._part("stacks")
        torn = []
        for file in states.glob(f"{stack}.json*.attrs"):
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                torn.append(file)
        unfinished = list(states.glob(f"{stack}.json*.tmp"))
        for file in (*torn, *unfinished):
            file.unlink(missing_ok=True)
        return torn

    def remove_copies(self, stack: str) -> None:
        """Remove the files that the engine keeps of a removed stack: its last states, with secrets as ciphertext, and
        empty folders.
        """
        for file in self._part("stacks").glob(f"{stack}.json*"):  # `.bak`, `.attrs`
            file.unlink(missing_ok=True)
        for part in (("backups",), ("history",), ("journals",), ("locks", ORGANIZATION)):
            shutil.rmtree(self._part(*part) / stack, ignore_errors=True)

    def _part(self, *parts: str) -> Path:
        return Path(self.folder, ".pulumi", *parts, self.project)


def file_backend(url: str, start: Path, project: str) -> FileBackend | None:
    """The backend at `url`, `None` if it is not `file://`; a relative path starts at `start`, as for the engine."""
    folder = backend_folder(url, start)
    return FileBackend(folder, project) if folder else None


def backend_folder(url: str, start: Path) -> Path | None:
    """The folder of a `file://` URL, which may have a query; `None` for any other URL."""
    if not url.startswith(FILE):
        return None
    path = unquote(url.removeprefix(FILE).partition("?")[0])
    return Path(os.path.normpath(start / Path(path).expanduser()))


@dataclass(frozen=True)
class SelfManagedSource:
    """One stack of the self-managed backend in `storage`."""

    storage: Storage = field(repr=False)
    project: str
    stack: str

    @property
    def place(self) -> str:
        return f"{self.storage.place('')} {self.project}/{self.stack}"

    def records(self) -> list[Record]:
        """One record for each time stamp in the file names, even if one of its two files is missing."""
        folder = self._folder("history", self.stack)
        found: dict[int, dict[str, StoredFile]] = {}
        for file in sorted(self._list(folder), key=lambda each: each.name):
            for part in (UPDATE, CHECKPOINT):
                stem, is_part, compression = file.name.rpartition(part)
                stack, _, digits = stem.rpartition("-")
                # The time of the update's end: nanoseconds since 1970, which the engine keeps in 64 bits.
                is_time = digits.isdecimal() and int(digits) < 1 << 63
                if is_part and compression in COMPRESSIONS and stack == self.stack and is_time:
                    found.setdefault(int(digits), {})[part] = file
        records = []
        for number, stamp in enumerate(sorted(found), start=1):
            files = found[stamp]
            missing = [f"{self.stack}-{stamp}{part} is missing" for part in (UPDATE, CHECKPOINT) if part not in files]
            empty = [f"{file.name} is empty" for file in files.values() if not file.size]
            paths = {part: f"{folder}/{file.name}" for part, file in files.items()}
            finished = datetime.fromtimestamp(stamp / NANOSECONDS, UTC)
            size = files[CHECKPOINT].size if CHECKPOINT in files else 0
            problem = "; ".join([*missing, *empty])
            records.append(Record(number, finished, paths.get(UPDATE, ""), paths.get(CHECKPOINT, ""), problem, size))
        return records

    def updates(self, records: Sequence[Record]) -> list[Mapping[str, Any] | UnreadableError]:
        """Read all files in one call: from a bucket, one after the other would take minutes."""
        contents = self.storage.read([record.update for record in records])
        return [self._parsed(record.update, contents[record.update]) for record in records]

    def checkpoint(self, record: Record) -> Snapshot:
        return self._snapshot(record.checkpoint)

    def present(self) -> Snapshot | None:
        """The state in the newest of the stack's files: the engine leaves the old file when its compression changes."""
        path = self._state_path()
        return self._snapshot(path) if path else None

    def is_held(self) -> bool:
        return bool(self._locks())

    def _locks(self) -> list[str]:
        """The paths of the stack's locks."""
        folder = f".pulumi/locks/{self.qualified_name()}"
        return [f"{folder}/{file.name}" for file in self._list(folder) if file.name.endswith(LOCK)]

    def qualified_name(self) -> str:
        """The name under which the engine locks the stack and writes it into the state."""
        return f"{ORGANIZATION}/{self.project}/{self.stack}" if self._has_projects else self.stack

    def _state_path(self) -> str | None:
        """The newest of the stack's files; `None` if the stack does not exist."""
        folder = self._folder("stacks")
        names = {f"{self.stack}.json{compression}" for compression in COMPRESSIONS}
        files = [file for file in self._list(folder) if file.name in names]
        return f"{folder}/{max(files, key=lambda file: file.modified).name}" if files else None

    def _folder(self, *parts: str) -> str:
        first, *rest = parts
        return "/".join([".pulumi", first, *([self.project] if self._has_projects else []), *rest])

    @cached_property
    def _has_projects(self) -> bool:
        """Whether stacks are kept by project; before version 1 they are not. Every path of a file depends on it."""
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

    def _list(self, folder: str) -> list[StoredFile]:
        try:
            return self.storage.files(folder)
        except OSError as error:
            raise self._unreachable(error) from error

    def _parsed(self, path: str, content: bytes | OSError) -> Mapping[str, Any] | UnreadableError:
        """The JSON object in the file, or an error that says what is wrong with it."""
        place = self.storage.place(path)
        if isinstance(content, OSError):
            return UnreadableError(f"{place} cannot be read: {content}")
        try:
            parsed = _read_json(content)
        except ValueError as error:
            return UnreadableError(f"{place} is truncated or corrupt: {error}")
        return parsed if isinstance(parsed, dict) else UnreadableError(f"{place} is corrupt: it is not a JSON object")

    def _snapshot(self, path: str) -> Snapshot:
        """The checkpoint's `latest`; `resources` is an empty list if the engine left it out because there are none."""
        content = self._parsed(path, self.storage.read([path])[path])
        if isinstance(content, UnreadableError):
            raise content
        checkpoint = content.get("checkpoint")
        latest = (checkpoint.get("latest") or {}) if isinstance(checkpoint, dict) else None
        resources = (latest.get("resources") or []) if isinstance(latest, dict) else None
        if latest is None or not isinstance(resources, list) or not all(map(_is_resource, resources)):
            raise UnreadableError(f"{self.storage.place(path)} is corrupt: it has no stack state")
        return {**latest, "resources": resources}

    def _unreachable(self, error: Exception) -> SlipwayError:
        return ConfigurationError(
            f"The backend {self.storage.place('')} cannot be read.",
            why=f"{type(error).__name__}: {error}",
            next_step=f"`pulumi stack history -s {self.stack}` shows the engine's error.",
        )


@lru_cache(maxsize=4)
def _read_json(content: bytes) -> Any:
    """The parsed content, cached: a command reads a stack's state ten times and never changes it.

    A state has megabytes: this takes two thirds of the time of json.loads.
    """
    return from_json(decompressed(content), cache_strings="keys")


def _is_resource(raw: object) -> bool:
    """Whether it has a type and a whole URN: `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
    return isinstance(raw, dict) and isinstance(raw.get("type"), str) and str(raw.get("urn")).count("::") >= URN_MARKS
