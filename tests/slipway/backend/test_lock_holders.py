"""A lock is taken for one of an engine that is gone only where that can be known."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway.backend import lock_holders
from slipway.backend.lock_holders import INITIAL_PID_NAMESPACE, PROC, Lock, record_holder
from slipway.backend.self_managed import FileBackend
from slipway.backend.stacks import Stacks
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import SlipwayError
from slipway.project import Project

ROOT = Path(__file__).parents[3]
STACK = "dev"
HOST = socket.gethostname()
IN_CONTAINER = (PROC / "self/ns/pid").stat().st_ino != INITIAL_PID_NAMESPACE
needs_host = pytest.mark.skipif(IN_CONTAINER, reason="in a container the processes of others are not seen")


def can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_unshare = pytest.mark.skipif(not can_unshare(), reason="needs root and unshare, to make a pid namespace")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    return FileBackend(tmp_path, "shop")


def lock(backend: FileBackend, pid: int, hostname: str = HOST) -> Lock:
    """As the engine writes it."""
    folder = backend.folder / ".pulumi/locks/organization/shop" / STACK
    folder.mkdir(parents=True, exist_ok=True)
    content = {"pid": pid, "username": "ada", "hostname": hostname, "timestamp": "2026-11-28T10:00:00Z"}
    (folder / "0b5f.json").write_text(json.dumps(content))
    (read,) = backend.locks(STACK)
    return read


@contextmanager
def process(tmp_path: Path, name: str, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([*before, program, "60"]) as started:
        try:
            yield started
        finally:
            started.kill()


@needs_host
@pytest.mark.parametrize("name", ["pulumi", ".pulumi-wrapped", "engine"])
def test_an_engine_holds_its_lock_under_whatever_name_it_runs(tmp_path: Path, backend: FileBackend, name: str) -> None:
    with process(tmp_path, name) as engine:
        held = lock(backend, engine.pid)
        assert held.doubt() == ""
    assert held.is_dead


@needs_host
def test_a_pid_that_another_program_has_by_now_holds_nothing(tmp_path: Path, backend: FileBackend) -> None:
    with process(tmp_path, "other") as engine:
        held = lock(backend, engine.pid)
        os.utime(held.file, (1e9, 1e9))
        assert held.is_dead
    with process(tmp_path, "pulumi") as engine:
        held = lock(backend, engine.pid)
        os.utime(held.file, (1e9, 1e9))
        assert not held.is_dead  # clocks are set


def test_a_lock_of_another_machine_is_held(backend: FileBackend) -> None:
    assert lock(backend, 2**22 + 1, "another-machine").doubt() == "Only another-machine can tell whether it still runs."


@pytest.mark.slow
@needs_host
@needs_unshare
def test_an_engine_in_a_container_of_the_same_name_holds_its_lock(tmp_path: Path, backend: FileBackend) -> None:
    """There it has pid 1, which is another program here."""
    with process(tmp_path, "pulumi", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc") as outside:
        while not (children := (PROC / f"{outside.pid}/task/{outside.pid}/children").read_text().split()):
            pass
        while "pulumi" not in (PROC / children[0] / "comm").read_text():
            pass
        held = lock(backend, 1)
        assert held.doubt() == ""
    while (PROC / children[0]).exists():  # killed after the one that started it
        pass
    os.utime(held.file, (1, 1))  # before pid 1 of this machine began
    assert held.is_dead


@pytest.mark.slow
@needs_unshare
def test_from_within_a_container_an_engine_outside_is_not_known_to_be_gone(
    tmp_path: Path, backend: FileBackend
) -> None:
    with process(tmp_path, "pulumi") as engine:
        held = lock(backend, engine.pid)
        record_holder([held])
        assert "in another container on this machine" in seen_in_container(backend)
        shutil.rmtree(tmp_path / "home")
        assert "Another container may have written the lock" in seen_in_container(backend)


def seen_in_container(backend: FileBackend) -> str:
    """The doubt about the lock in a pid namespace of its own, whose host name is the same."""
    code = (
        "from pathlib import Path\nfrom slipway.backend.self_managed import FileBackend\n"
        f"print(*[each.doubt() for each in FileBackend(Path({str(backend.folder)!r}), 'shop').locks({STACK!r})])"
    )
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_process_that_was_taken_down_is_known_by_its_start(
    tmp_path: Path, backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the namespace is, and wherever the folder."""
    monkeypatch.setattr(lock_holders, "INITIAL_PID_NAMESPACE", 0)
    monkeypatch.setattr(lock_holders, "LOCAL_FILE_SYSTEMS", set())
    with process(tmp_path, "pulumi") as engine:
        held = lock(backend, engine.pid)
        assert held.doubt()
        record_holder([held])
        assert held.doubt() == ""
        entry = tmp_path / "home/locks/0b5f.json"
        of_another = json.loads(entry.read_text()) | {"started_ticks": 1}
        entry.write_text(json.dumps(of_another))
        assert held.is_dead
        record_holder([held])
    assert held.is_dead
    held.file.unlink()
    record_holder([])
    assert not entry.exists()


def test_a_lock_from_before_a_restart(tmp_path: Path, backend: FileBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    with process(tmp_path, "pulumi") as engine:
        held = lock(backend, engine.pid)
        record_holder([held])
        entry = tmp_path / "home/locks/0b5f.json"
        entry.write_text(json.dumps(json.loads(entry.read_text()) | {"boot_id": "another"}))
        assert held.is_dead
        monkeypatch.setattr(lock_holders, "LOCAL_FILE_SYSTEMS", set())
        assert "its folder is not local" in str(held.doubt())


def test_what_is_not_known_is_said_with_how_to_release_it(tmp_path: Path, backend: FileBackend) -> None:
    lock(backend, 1, "another-machine")
    environment: dict[str, Any] = dict(os.environ)
    stacks = Stacks(Project(tmp_path), Pulumi(tmp_path, environment), backend, in_lab=False)
    with pytest.raises(SlipwayError) as raised:
        stacks.require_unlocked(STACK)
    assert raised.value.why == (
        "Held by pid 1 of ada@another-machine, since 2026-11-28T10:00:00Z.\n"
        "Only another-machine can tell whether it still runs."
    )
    assert raised.value.next_step == (
        "Wait for it to end. If it has ended, release the lock with `pulumi cancel -s dev`."
    )
