"""What the engine's file backend keeps of one project's stacks: their states, and the locks of updates under way."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from slipway.backend.compression import COMPRESSIONS, decompressed
from slipway.errors import SlipwayError

FILE = "file://"
CHECKPOINT_VERSION = 3
"""Of the file that has a state."""


@dataclass(frozen=True)
class Lock:
    """Who holds a stack."""

    pid: int
    username: str
    hostname: str
    timestamp: str

    def __str__(self) -> str:
        return f"pid {self.pid} of {self.username}@{self.hostname}, since {self.timestamp}"

    @property
    def is_dead(self) -> bool:
        """Whether the engine that took the lock ran on this machine and does no more."""
        if self.hostname != socket.gethostname():
            return False
        try:
            name, _, rest = Path(f"/proc/{self.pid}/stat").read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            return True
        # A wrapper may give it a name around its own: `.pulumi-wrapped`. One that was killed stays on as a zombie until
        # its parent, or whoever adopted it, takes note.
        return "pulumi" not in name or rest.split()[0] in "ZX"


@dataclass(frozen=True)
class FileBackend:
    """`folder` is that of the `file://` URL, `project` the project's name."""

    folder: Path
    project: str

    def state(self, stack: str) -> dict[str, Any] | None:
        """The stack's checkpoint file, parsed; asking the engine takes a third of a second."""
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
        """The file that has the stack's state, where it cannot be read: it is empty, or was cut short."""
        file = self._state_file(stack)
        try:
            content = json.loads(decompressed(file.read_bytes())) if file else {}
        except ValueError:
            return file
        return None if isinstance(content, dict) else file

    def replace_state(self, stack: str, file: Path, deployment: Mapping[str, Any]) -> Path:
        """Put `deployment` in the place of `file`, which is kept beside it under the name that is returned."""
        kept = file.with_name(f"{file.name}.{datetime.now(UTC):%Y%m%d-%H%M%S}.refused")
        checkpoint = {"stack": f"organization/{self.project}/{stack}", "latest": deployment}
        written = file.with_name(f"{stack}.json")
        partial = written.with_name(f"{written.name}.partial")
        partial.write_text(json.dumps({"version": CHECKPOINT_VERSION, "checkpoint": checkpoint}), encoding="utf-8")
        file.rename(kept)
        file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)  # a hash of what was there
        partial.rename(written)
        return kept

    def _state_file(self, stack: str) -> Path | None:
        files = [self._part("stacks") / f"{stack}.json{compression}" for compression in COMPRESSIONS]
        # The engine leaves the old one when its compression is changed.
        return max((file for file in files if file.exists()), key=lambda file: file.stat().st_mtime, default=None)

    def locks(self, stack: str) -> list[Lock]:
        held = []
        for file in (self._part("locks", "organization") / stack).glob("*.json"):
            # Released just now, or not yet written to its end.
            with suppress(FileNotFoundError, ValueError, KeyError):
                content = json.loads(file.read_text())
                keys = ("username", "hostname", "timestamp")
                held.append(Lock(int(content["pid"]), *(str(content[key]) for key in keys)))
        return held

    def mend(self, stack: str) -> list[Path]:
        """Remove what an engine that was killed left half written; the files that were removed.

        States are written to a temporary file and renamed, but the attributes beside them are not, and the engine
        reads no state whose attributes are empty ("failed to load checkpoint: EOF"). They say nothing that is needed.
        To be called while nobody holds the stack.
        """
        states = self._part("stacks")
        torn = [file for file in states.glob(f"{stack}.json*.attrs") if not _is_json(file)]
        unfinished = list(states.glob(f"{stack}.json*.tmp"))
        for file in (*torn, *unfinished):
            file.unlink(missing_ok=True)
        return torn

    def _part(self, *parts: str) -> Path:
        return Path(self.folder, ".pulumi", *parts, self.project)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def file_backend(url: str, start: Path, project: str) -> FileBackend | None:
    """The backend at `url` if it is a `file://` one; a relative path starts at `start`, as the engine has it."""
    folder = backend_folder(url, start)
    return FileBackend(folder, project) if folder else None


def backend_folder(url: str, start: Path) -> Path | None:
    """The folder of a `file://` URL, which may have a query; `None` for any other."""
    if not url.startswith(FILE):
        return None
    path = unquote(url.removeprefix(FILE).partition("?")[0])
    return Path(os.path.normpath(start / Path(path).expanduser()))
