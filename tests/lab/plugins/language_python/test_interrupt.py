"""Interrupts: the program cleans up, nothing of Python's shows, and no process stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab
NewProject = Callable[..., Any]
DEADLINE_SECONDS = 20.0
PREVIEW = ("preview",)
UP = ("up", "--yes", "--skip-preview")

IN_MAIN = """
    import atexit, os, pathlib, subprocess, time
    atexit.register(lambda: pathlib.Path("atexit").touch())
    child = subprocess.Popen(["sleep", "300"])
    pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid} {os.getppid()} ")
    try:
        time.sleep(300)
    finally:
        pathlib.Path("finally").touch()
"""
IN_COROUTINE = """
    import asyncio, atexit, os, pathlib
    import pulumi
    atexit.register(lambda: pathlib.Path("atexit").touch())
    async def main():
        pathlib.Path("pids").write_text(f"{os.getpid()} {os.getppid()} ")
        try:
            await asyncio.sleep(300)
        finally:
            pathlib.Path("finally").touch()
    pulumi.run(main)
"""
IN_APPLY = """
    import atexit, os, pathlib, time
    import pulumi
    atexit.register(lambda: pathlib.Path("atexit").touch())
    def work(_):
        pathlib.Path("pids").write_text(f"{os.getpid()} {os.getppid()} ")
        try:
            time.sleep(300)
        finally:
            pathlib.Path("finally").touch()
    pulumi.Output.from_input(1).apply(work)
"""
STUBBORN = """
    import os, pathlib, signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pathlib.Path("pids").write_text(f"{os.getpid()} {os.getppid()} ")
    time.sleep(300)
"""


def start(project: Any, *arguments: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start pulumi and wait until the program runs; its processes' ids, the language host's last."""
    running = project.start(*arguments)
    pids = project.folder / "pids"
    wait_until(lambda: pids.is_file() and pids.read_text(encoding="utf-8").endswith(" "))
    return running, [int(pid) for pid in pids.read_text(encoding="utf-8").split()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Also true for a zombie."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("program", "command"),
    [
        pytest.param(IN_MAIN, UP, id="up-main"),
        pytest.param(IN_COROUTINE, PREVIEW, id="preview-coroutine"),
        pytest.param(IN_APPLY, UP, id="up-apply"),
        pytest.param(IN_MAIN, PREVIEW, id="preview-main", marks=pytest.mark.thorough),
        pytest.param(IN_COROUTINE, UP, id="up-coroutine", marks=pytest.mark.thorough),
        pytest.param(IN_APPLY, PREVIEW, id="preview-apply", marks=pytest.mark.thorough),
    ],
)
def test_interrupted_program_cleans_up_quietly(new_project: NewProject, program: str, command: tuple[str, ...]) -> None:
    project = new_project(program)
    running, pids = start(project, *command)

    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=DEADLINE_SECONDS)

    assert running.returncode not in (0, None)
    assert time.monotonic() - began < 8
    assert "canceled" in output
    for noise in ("Traceback", "KeyboardInterrupt", "non-zero exit", "Exception ignored"):
        assert noise not in output
    assert (project.folder / "finally").exists()
    assert (project.folder / "atexit").exists()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_program_that_ignores_the_interrupt_is_killed(new_project: NewProject) -> None:
    running, pids = start(new_project(STUBBORN), "preview")

    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=DEADLINE_SECONDS)

    assert "Traceback" not in output
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_everything_ends_with_a_killed_engine(new_project: NewProject) -> None:
    project = new_project(IN_MAIN)
    running, pids = start(project, "preview")

    running.kill()
    running.communicate()

    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    assert (project.folder / "finally").exists()


@pytest.mark.thorough  # as with the engine, which ends the host
def test_program_ends_with_a_killed_host(new_project: NewProject) -> None:
    project = new_project(IN_MAIN)
    running, (program, child, host) = start(project, "preview")

    os.kill(host, signal.SIGKILL)
    running.communicate(timeout=DEADLINE_SECONDS)

    wait_until(lambda: not is_alive(program) and not is_alive(child))
    assert (project.folder / "finally").exists()
