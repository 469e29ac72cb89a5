"""Whoever reads the output of an update goes away: the update goes on to its end, or ends in order as on Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SETTINGS = "services/order_service/service.yaml"
FIRST, SECOND = "env: {LOG_LEVEL: info}", "env: {LOG_LEVEL: debug}"
UP = [sys.executable, "-u", "-m", "slipway.cli.main", "up", "-s", "e2e", "--yes"]


def history(project: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    shown = json.loads(project.run("pulumi", "stack", "history", "-s", "e2e", "--json").output)
    return [{key: each[key] for key in ("kind", "result")} for each in reversed(shown)]


def require_in_order(project: Any) -> None:
    """Nothing holds the stack, and nothing in its state is unfinished."""
    backend = Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    assert list((backend / ".pulumi" / "locks").rglob("*.json")) == []
    state = json.loads(project.run("pulumi", "stack", "export", "--stack", "e2e").output)["deployment"]
    assert not state.get("pending_operations")


@pytest.mark.thorough
def test_head_reads_one_line(released: Any) -> None:
    released.replace(SETTINGS, FIRST, SECOND)
    command = " ".join(UP)
    done = released.run("bash", "-c", f"{command} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}")
    assert (done.code, done.output.count("\n")) == (0, 1), done.output
    assert history(released)[1:] == [{"kind": "update", "result": "succeeded"}]
    require_in_order(released)
    said = released.slipway("history", "-s", "e2e").output
    assert "The output of `slipway up` could not be written (standard output: Broken pipe, " in said
    assert "The command finished with exit code 0." in said


@pytest.mark.thorough
def test_the_disk_under_the_output_is_full(released: Any, tmp_path: Path) -> None:
    released.replace(SETTINGS, FIRST, SECOND)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], check=True)
    try:
        (disk / "rest").write_bytes(bytes(8192))
        done = released.run("bash", "-c", f"{' '.join(UP)} >{disk}/output 2>&1")
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.code == 0
    assert history(released)[1:] == [{"kind": "update", "result": "succeeded"}]
    require_in_order(released)
    assert "standard error: No space left on device" in released.slipway("history", "-s", "e2e").output


def interrupted(project: Any, leave: Callable[[subprocess.Popen[bytes], int], None]) -> int:
    """Update on a terminal of its own; `leave` is called when the first Deployment is being updated. Exit code."""
    project.replace(SETTINGS, FIRST, SECOND)
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *UP],
        cwd=project.folder,
        env=project.environment | {"TERM": "dumb"},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    said = b""
    while b"Update Deployment" not in said:
        said += os.read(terminal, 65536)
    leave(process, terminal)
    return process.wait(timeout=120)


@pytest.mark.thorough
def test_the_terminal_is_gone(released: Any) -> None:
    """Closing it sends SIGHUP to what runs in it, as when ssh is cut off."""
    code = interrupted(released, lambda _process, terminal: os.close(terminal))
    assert code == 130
    require_in_order(released)
    assert "Input/output error" in released.slipway("history", "-s", "e2e").output
    again = released.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 0, again.output


@pytest.mark.thorough
def test_a_build_server_cancels_the_job(released: Any) -> None:
    """As GitHub's runner does: SIGINT to the shell of the step, SIGTERM 7.5 s later, SIGKILL 2.5 s after that."""
    released.replace(SETTINGS, FIRST, SECOND)
    # A rollout that is waited for: the new pods never become ready.
    released.replace("services/order_service/service.yaml", "ready: /readyz", "ready: /nothing")
    step = released.folder / "step.sh"
    step.write_text(f"exec {' '.join(UP)}\n")
    process = subprocess.Popen(
        ["bash", "-e", str(step)],
        cwd=released.folder,
        env=released.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout or ():
        if line.startswith("Roll out order-service"):
            break
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=7.5)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=2.5)
    time.sleep(0.1)
    assert process.returncode == 130
    require_in_order(released)
