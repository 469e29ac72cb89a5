"""Runs short-lived programs of the system and turns their failures into errors that a person can act on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import toolchain
from slipway.errors import ConfigurationError, SlipwayError
from slipway.paths import toolchain_environment_file

from .files import read_json_object

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
