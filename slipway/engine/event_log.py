"""The log file with all output of the engine in one run, for later debugging."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from slipway.engine.events import is_debug
from slipway.errors import ConfigurationError
from slipway.paths import data_home

KEPT_LOGS = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class EventLog:
    """`name` is the file's name. If the log can no longer be written, the rest is left out and the update goes on."""

    name: str
    _stream: TextIO | None

    def write(self, text: str) -> None:
        if self._stream:
            try:
                self._stream.write(text)
            except OSError:
                self.close()

    def write_line(self, line: str, at_seconds: float) -> None:
        """Write the seconds since the start and one event, but no debug messages of the SDK (most of the stream)."""
        if not is_debug(line):
            self.write(f"{at_seconds:.3f} {line}")

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            with suppress(OSError):  # buffered text cannot be written either
                stream.close()


def require_log_folder() -> Path:
    """The folder of the logs, created if it is missing; raises ConfigurationError if it cannot be written."""
    folder = data_home() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
    except OSError as error:
        problem = "" if error.errno in DISK_FULL else str(error)
    if problem:
        raise ConfigurationError(
            f"The data folder {data_home()} cannot be written.",
            why=problem,
            next_step="Make it writable for this user, or set SLIPWAY_HOME to a folder that is.",
        )
    return folder


@contextmanager
def open_log(command: str, stack: str) -> Iterator[EventLog]:
    """A new file in the data folder, readable only by its owner; the oldest logs of the same command are removed.

    Raises ConfigurationError if the folder cannot be written; on a full disk nothing is kept.
    """
    folder = require_log_folder()
    for old in sorted(folder.glob(f"{command}-*.log"), key=_modified)[: -KEPT_LOGS + 1]:
        old.unlink(missing_ok=True)
    file = folder / f"{command}-{stack}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    stream = None
    try:
        file.touch(mode=0o600)
        stream = file.open("w", encoding="utf-8")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
    log = EventLog(str(file), stream)
    try:
        yield log
    finally:
        log.close()


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another command removed it just now
        return 0.0
