"""It works until it is told to stop."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
MODULE = "sample_service.main"
main = importlib.import_module(MODULE)


def test_it_works_again_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, times = threading.Event(), 0

    def work() -> int:
        nonlocal times
        times += 1
        if times == 3:
            stopped.set()
        return 1

    monkeypatch.setattr(main, "work", work)
    main.run(stopped, 0.01, tmp_path / "alive")
    assert times == 3
    assert (tmp_path / "alive").exists()


def test_it_ends_in_order_when_its_pod_does(tmp_path: Path) -> None:
    heartbeat = tmp_path / "alive"
    environment = {**os.environ, "INTERVAL_SECONDS": "60", "HEARTBEAT_FILE": str(heartbeat)}
    process = subprocess.Popen([sys.executable, "-m", MODULE], cwd=FOLDER, env=environment)
    try:
        deadline = time.monotonic() + 30
        while not heartbeat.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert heartbeat.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
