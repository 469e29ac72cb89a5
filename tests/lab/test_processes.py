"""Daemons are started once, known by more than their pid, and stopped with all that they left running."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lab import proc
from lab.proc import Listen
from lab.processes import LOG_LIMIT_BYTES, OWNER_VARIABLE, Daemon, NotReadyError, Processes
from lab.settings import LabSettings
from slipway.errors import SlipwayError
from slipway.progress import Progress

# Writes "ready" to the file it is given, then waits; ignores SIGTERM when told to.
SCRIPT = """
import os, pathlib, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hello from", os.getpid(), flush=True)
pathlib.Path(sys.argv[1]).write_text("ready")
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return LabSettings(home=tmp_path / "lab", run=tmp_path / "run")


@pytest.fixture
def processes(settings: LabSettings) -> Iterator[Processes]:
    found = Processes(settings)
    yield found
    found.stop(["thing"], {}, timeout_seconds=1)


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(file=io.StringIO()))


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    mark = tmp_path / "mark"

    def probe() -> None:
        if not mark.exists():
            raise NotReadyError("no mark yet")

    return Daemon(
        "thing", (sys.executable, "-c", SCRIPT, str(mark)), probe, ready_timeout_seconds=20, stop_timeout_seconds=5
    )


def record(settings: LabSettings) -> dict[str, object]:
    return dict(json.loads((settings.records / "thing.json").read_text()))


def test_started_once(processes: Processes, daemon: Daemon, progress: Progress) -> None:
    assert processes.ensure([daemon], progress) == ["thing"]
    first = processes.running("thing")
    assert first is not None
    assert processes.ensure([daemon], progress) == []
    assert processes.running("thing") == first


def test_detached_from_this_terminal(processes: Processes, daemon: Daemon, progress: Progress) -> None:
    processes.ensure([daemon], progress)
    process = processes.running("thing")
    assert process is not None
    assert proc.leads_session(process.pid)
    assert Path(f"/proc/{process.pid}/fd/0").readlink() == Path("/dev/null")


def test_secrets_of_the_caller_are_not_handed_on(
    processes: Processes, daemon: Daemon, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_TOKEN", "secret")
    processes.ensure([daemon], progress)
    process = processes.running("thing")
    assert process is not None
    assert proc.environment_value(process.pid, "CLOUD_TOKEN") is None
    assert str(proc.environment_value(process.pid, OWNER_VARIABLE)).endswith("lab:thing")


def test_a_killed_one_is_started_again(processes: Processes, daemon: Daemon, progress: Progress) -> None:
    processes.ensure([daemon], progress)
    first = processes.running("thing")
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    proc.wait_gone([first], 5)
    assert processes.running("thing") is None
    assert processes.ensure([daemon], progress) == ["thing"]


def test_a_reused_pid_is_neither_believed_nor_killed(
    settings: LabSettings, processes: Processes, daemon: Daemon, progress: Progress
) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        identity = proc.identify(bystander.pid)
        assert identity is not None
        settings.records.mkdir(parents=True)
        stale = {"pid": bystander.pid, "start_ticks": identity.start_ticks - 1, "boot_id": proc.boot_id()}
        (settings.records / "thing.json").write_text(json.dumps(stale))
        assert processes.running("thing") is None
        processes.ensure([daemon], progress)
        processes.stop(["thing"], {})
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_record_of_an_earlier_boot_counts_as_none(
    settings: LabSettings, processes: Processes, daemon: Daemon, progress: Progress
) -> None:
    processes.ensure([daemon], progress)
    kept = record(settings)
    (settings.records / "thing.json").write_text(json.dumps({**kept, "boot_id": "another"}))
    assert processes.running("thing") is None


@pytest.mark.parametrize("content", ["", '{"pid": 1', "[]"])
def test_a_half_written_record_is_no_record_and_its_process_is_found_all_the_same(
    settings: LabSettings, processes: Processes, daemon: Daemon, progress: Progress, content: str
) -> None:
    processes.ensure([daemon], progress)
    first = processes.running("thing")
    assert first is not None
    (settings.records / "thing.json").write_text(content)
    assert processes.running("thing") is None
    assert processes.ensure([daemon], progress) == ["thing"]
    assert not proc.is_alive(first)


def test_a_changed_command_or_file_starts_it_anew(
    processes: Processes, daemon: Daemon, progress: Progress, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("one")
    daemon = replace(daemon, inputs=(config,))
    assert processes.ensure([daemon], progress) == ["thing"]
    assert processes.ensure([daemon], progress) == []
    config.write_text("two")
    assert processes.ensure([daemon], progress) == ["thing"]
    assert processes.ensure([replace(daemon, command=(*daemon.command, "more"))], progress) == ["thing"]
    assert len(processes.strays("thing")) == 1


@pytest.mark.slow
def test_one_that_hangs_is_started_anew(
    processes: Processes, daemon: Daemon, progress: Progress, tmp_path: Path
) -> None:
    processes.ensure([daemon], progress)
    first = processes.running("thing")
    (tmp_path / "mark").unlink()
    assert processes.ensure([replace(daemon, ready_timeout_seconds=0.5)], progress) == ["thing"]
    assert processes.running("thing") != first


def test_one_that_ends_at_once_fails_with_the_end_of_its_log(
    settings: LabSettings, processes: Processes, daemon: Daemon, progress: Progress
) -> None:
    script = "import sys; print('the reason why'); sys.exit(3)"
    with pytest.raises(SlipwayError) as caught:
        processes.ensure([replace(daemon, command=(sys.executable, "-c", script))], progress)
    assert caught.value.what.startswith("thing did not become ready: it exited")
    assert "the reason why" in caught.value.why
    assert str(settings.logs / "thing.log") in caught.value.why


@pytest.mark.slow
def test_one_that_never_answers_fails_with_its_last_answer(
    processes: Processes, daemon: Daemon, progress: Progress
) -> None:
    def probe() -> None:
        raise NotReadyError("503: still thinking")

    with pytest.raises(SlipwayError, match=r"no healthy answer in 1 s: 503: still thinking"):
        processes.ensure([replace(daemon, probe=probe, ready_timeout_seconds=1)], progress)


def test_a_taken_port_is_reported_before_anything_starts(
    processes: Processes, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "_RELEASE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SlipwayError, match=f"other needs tcp port {port} on 127.0.0.1, which is in use"):
            processes.require_ports([daemon, replace(daemon, name="other", listens=(Listen("127.0.0.1", port),))])
    assert processes.running_names() == []


@pytest.mark.slow
def test_a_stubborn_one_is_killed(processes: Processes, daemon: Daemon, progress: Progress) -> None:
    processes.ensure([replace(daemon, command=(*daemon.command, "stubborn"))], progress)
    process = processes.running("thing")
    assert process is not None
    processes.stop(["thing"], {}, timeout_seconds=0.5)
    assert not proc.is_alive(process)


def test_an_overlong_log_is_begun_anew(
    settings: LabSettings, processes: Processes, daemon: Daemon, progress: Progress
) -> None:
    settings.logs.mkdir(parents=True)
    with (settings.logs / "thing.log").open("wb") as stream:
        stream.truncate(LOG_LIMIT_BYTES + 1)
    processes.ensure([daemon], progress)
    text = (settings.logs / "thing.log").read_text()
    assert len(text) < 10_000
    assert "hello from" in text
