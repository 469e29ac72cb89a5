"""How `slipway up` tells the program that the policies are checked already, so that it does not check them again."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "SLIPWAY_GATE_PASSED"
# The files that decide the verdict. The services' other sources do not: they end up in images, not in objects.
PROGRAM_FILES = (
    *("*.py", "Pulumi*.yaml", "services/*.py", "services/*/service.yaml", "services/*/resources.py"),
    *("components/**/*.py", "policy/**/*.py", "policy/*.yaml", "slipway/**/*.py"),
)
NOT_OF_THE_PROGRAM = "slipway/templates"


def token(folder: Path, project: str, stack: str) -> str:
    """The value of `SLIPWAY_GATE_PASSED` that lets `stack` through.

    A hash over project, stack, commit and every file of the project's `folder` that decides what is declared and how
    it is judged: an old value in a shell is invalid as soon as any of them changes.
    """
    digest = hashlib.sha256()
    files = (f"{name} {content}" for name, content in file_hashes(folder).items())
    for part in ("slipway gate", project, stack, head(folder), *files):
        digest.update(f"{len(part)}:{part}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_passed(environ: Mapping[str, str], folder: Path, project: str, stack: str) -> bool:
    """Whether the environment says that exactly this program, of this stack, passed the gate."""
    given = environ.get(VARIABLE, "")
    return bool(given) and hmac.compare_digest(given, token(folder, project, stack))


def head(folder: Path) -> str:
    """The commit of the work tree; empty if there is no git repository: then only the files decide."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def file_hashes(folder: Path) -> dict[str, str]:
    """A hash of each file that decides the verdict, by its path in `folder`, in order."""
    found = {file for pattern in PROGRAM_FILES for file in folder.glob(pattern)}
    names = {file.relative_to(folder).as_posix(): file for file in sorted(found) if file.is_file()}
    return {name: content_hash(file) for name, file in names.items() if not name.startswith(NOT_OF_THE_PROGRAM)}


def content_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
