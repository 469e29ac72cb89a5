"""Writes files atomically, so that an interrupted run leaves no partial file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def make_folder(path: Path, mode: int = 0o700) -> Path:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def write_bytes(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Write `content` to `path` with `mode`; returns whether the content was new."""
    try:
        if path.read_bytes() == content:
            path.chmod(mode)
            return False
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def write_text(path: Path, text: str, mode: int = 0o600) -> bool:
    return write_bytes(path, text.encode(), mode)


def write_json(path: Path, value: Any, mode: int = 0o600) -> bool:
    return write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode)


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; `None` if the file is missing or no object (the machine died while writing it)."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def last_lines(path: Path, count: int = 12, limit_bytes: int = 16_384) -> str:
    """The last lines of a log, for an error message; empty if there is no log."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - limit_bytes))
            lines = stream.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(line[:400] for line in lines[-count:])
