"""The file that keeps all the engine said in one run, for whoever has to look into it later."""

from __future__ import annotations

import os
import time
from typing import TextIO

from slipway.engine.events import is_debug
from slipway.paths import data_home

KEPT_LOGS = 20


def open_log(command: str, stack: str) -> TextIO:
    """A new file in the data folder, readable by its owner alone; the oldest of the same command are removed."""
    folder = data_home() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob(f"{command}-*.log"), key=lambda file: file.stat().st_mtime)[: -KEPT_LOGS + 1]:
        old.unlink(missing_ok=True)
    file = folder / f"{command}-{stack}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    file.touch(mode=0o600)
    return file.open("w", encoding="utf-8")


def write_line(log: TextIO, line: str, at_seconds: float) -> None:
    """One event after the seconds since the start; the SDK's debug messages are most of the stream, and left out."""
    if not is_debug(line):
        log.write(f"{at_seconds:.3f} {line}")
