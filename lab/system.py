"""Runs short-lived programs of the system, whose failures become errors that a person can act on; and writes files
atomically, so that an interrupted run leaves no partial one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import toolchain
from slipway.errors import ConfigurationError, SlipwayError
from slipway.paths import toolchain_environment_file

# Debian keeps daemons and network tools where a user's PATH does not look.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """PATH with the toolchain's folders in front and the system's folders behind."""
    toolchain = (read_json_object(toolchain_environment_file()) or {}).get("PATH", [])
    return os.pathsep.join([*toolchain, os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])


def find_program(name: str) -> Path | None:
    built: Path | None = getattr(toolchain.installed(), name, None)
    if built and built.exists():
        return built
    found = shutil.which(name, path=search_path())
    return Path(found) if found else None


def program(name: str) -> str:
    """The path of a program that the lab needs; raises ConfigurationError when the machine has none."""
    found = find_program(name)
    if found is None:
        raise ConfigurationError(
            f"the program {name} was not found",
            why=f"looked in {search_path()}",
            next_step="run `slipway doctor` to see which part of the toolchain or which Debian package is missing",
        )
    return str(found)


def run(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_seconds: float = 120,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> str:
    """Run `command` and return its standard output; raises SlipwayError with its output if it fails."""
    result = attempt(command, stdin=stdin, timeout_seconds=timeout_seconds, environment=environment, user=user)
    if result.returncode != 0:
        raise SlipwayError(
            f"{' '.join(command)} failed with exit status {result.returncode}",
            why="\n".join((result.stderr.strip() or result.stdout.strip()).splitlines()[-12:]),
        )
    return result.stdout


def attempt(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_seconds: float = 120,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Like `run`, but returns the result if the command fails."""
    try:
        return subprocess.run(
            [program(command[0]), *command[1:]],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            env={**os.environ, **(environment or {})},
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlipwayError(f"{' '.join(command)} did not end within {timeout_seconds:.0f} s") from error


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
