"""Standard output and error whose reader may disappear: a failed write does not end a command.

A pipe is closed (`slipway up | head -1`), a terminal ends with its ssh, the disk under a file is full. The command
keeps in a file what it cannot write, and goes on. It reports this on the other stream, or if that fails too, at the
beginning of the next command in the same project.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from slipway.errors import ExitCode
from slipway.paths import data_home
from slipway.project import find

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CHANGES = ("up", "rollback")
"""Commands whose result counts even if their output is not read."""
SILENT = "env"
"""A shell evaluates its output."""


class _Descriptor(io.FileIO):
    """A standard stream's descriptor. After the first failed write, all output goes to `lost`."""

    def __init__(self, descriptor: int, lost: _Lost) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.error: OSError | None = None
        self._lost = lost

    def write(self, data: ReadableBuffer, /) -> int:
        if self.error is None:
            try:
                while (written := super().write(data)) is None:  # another program made it non-blocking, and it is full
                    select.select([], [self], [])
            except OSError as error:
                self.error = error
            else:
                return written
        self._lost.write(kept := bytes(data))
        return len(kept)


@dataclass
class _Lost:
    """Output that could not be written, in a file of the data folder; the first such output creates it."""

    command: str
    file: Path = field(init=False)
    _stream: io.FileIO | None = None

    def __post_init__(self) -> None:
        self.file = data_home() / "logs" / f"{self.command}-output-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"

    def write(self, data: bytes) -> None:
        with suppress(OSError):  # this disk is full as well
            if self._stream is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self.file.touch(mode=0o600)
                self._stream = io.FileIO(self.file, "ab")
            self._stream.write(data)


@dataclass
class Output:
    """The standard streams of one command."""

    command: str
    lost: _Lost
    descriptors: dict[str, _Descriptor]
    """The streams that are files, pipes or terminals, by name."""

    def end(self, code: int) -> int:
        """Flush the streams and report lost output; returns the exit code, 1 if the output of a query is incomplete."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        errors = {name: each.error for name, each in self.descriptors.items() if each.error}
        if not errors:
            return code
        only_left = all(error.errno == errno.EPIPE for error in errors.values())
        changes = self.command in CHANGES
        if only_left and not changes:  # `slipway history | head`
            return code
        if "standard output" in errors and not only_left and not changes:
            code = code or ExitCode.FAILED
        why = ", ".join(f"{name}: {os.strerror(error.errno or 0)}" for name, error in errors.items())
        outcome = f"The command finished with exit code {code}." if changes else "The output is incomplete."
        kept = f" The rest of its output is in {self.lost.file}." if self.lost.file.exists() else ""
        message = f"The output of `slipway {self.command}` could not be written ({why}). {outcome}{kept}"
        self.lost.write(f"\n{message}\n".encode(errors="surrogateescape"))
        if "standard error" not in errors:
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
        elif file := _unread():
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{time.strftime('%Y-%m-%d %H:%M:%S')}: {message}\n", encoding="utf-8")
        return code


@contextmanager
def lasting_output(arguments: Sequence[str]) -> Iterator[Output]:
    """Replace the standard streams with streams whose writes never fail; `arguments` are the command's.

    First prints the message that an earlier command in this project could not print.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    for descriptor in range(3):  # the next opened file would get the number of a closed one
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or io.StringIO()
    command = next((each for each in arguments if not each.startswith("-")), "")
    output = Output(command, _Lost(command or "slipway"), {})
    sys.stdout = _replaced(sys.stdout or io.StringIO(), "standard output", output)
    sys.stderr = _replaced(sys.stderr or io.StringIO(), "standard error", output)
    if command != SILENT and (file := _unread()):
        with suppress(OSError):
            sys.stderr.write(file.read_text(encoding="utf-8"))
            file.unlink()
    try:
        yield output
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _replaced(stream: TextIO, name: str, output: Output) -> TextIO:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # in memory
        return stream
    stream.flush()
    raw = output.descriptors[name] = _Descriptor(descriptor, output.lost)
    # A character that a C locale cannot encode must not end a command either.
    errors = "backslashreplace" if stream.errors == "backslashreplace" else "replace"
    buffer, lines = io.BufferedWriter(raw), name == "standard error" or stream.isatty()
    return io.TextIOWrapper(buffer, stream.encoding, errors, line_buffering=lines)


def _unread() -> Path | None:
    """This project's file for a message that a command could not print; `None` outside a project."""
    try:
        project = find(Path.cwd())
    except OSError:  # the folder is gone
        return None
    return data_home() / "unread" / hashlib.sha256(os.fsencode(project.folder)).hexdigest()[:16] if project else None


def to_stderr(line: str) -> None:
    typer.echo(line, err=True)
