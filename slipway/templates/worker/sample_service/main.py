"""Takes up work again and again, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

logger = logging.getLogger(__name__)


def work() -> int:
    """Do what there is to do; returns how much that was."""
    return 0


def run(stopped: threading.Event, interval_seconds: float, heartbeat: Path) -> None:
    """Work every `interval_seconds` until `stopped`, and touch `heartbeat` after each time: its probes look at it."""
    while True:
        logger.info("%d done", work())
        heartbeat.touch()
        if stopped.wait(interval_seconds):
            return


def main() -> None:
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "info").upper(), format="%(levelname)s %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    run(stopped, float(os.environ["INTERVAL_SECONDS"]), Path(os.environ["HEARTBEAT_FILE"]))


if __name__ == "__main__":
    main()
