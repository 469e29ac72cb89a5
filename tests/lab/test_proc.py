"""A process is known by more than its pid, and a taken port is refused with the name of the process that holds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import proc
from lab.proc import Listen, ProcessId, decode_address, port_holders, require_free_ports
from slipway.errors import SlipwayError


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of a little-endian machine")
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F:1388", ("127.0.0.1", 5000)),
        ("00000000:192B", ("0.0.0.0", 6443)),  # noqa: S104
        ("00000000000000000000000000000000:0016", ("::", 22)),
        ("0000000000000000FFFF00000100007F:1388", ("::ffff:127.0.0.1", 5000)),
    ],
)
def test_decode_address(text: str, address: tuple[str, int]) -> None:
    assert decode_address(text) == address


@pytest.fixture
def bound() -> Iterator[Listen]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Listen("127.0.0.1", server.getsockname()[1])


def test_the_holder_is_found(bound: Listen) -> None:
    assert port_holders(bound) == [os.getpid()]


def test_a_wildcard_clashes_with_every_address(bound: Listen) -> None:
    assert port_holders(Listen("0.0.0.0", bound.port)) == [os.getpid()]  # noqa: S104


def test_another_address_or_protocol_does_not_clash(bound: Listen) -> None:
    assert port_holders(Listen("127.0.0.2", bound.port)) == []
    assert port_holders(Listen("127.0.0.1", bound.port, "udp")) == []


def test_udp_sockets_are_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        assert port_holders(Listen("127.0.0.1", bound.getsockname()[1], "udp")) == [os.getpid()]


def test_the_error_says_who_and_what_to_do(bound: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "_RELEASE_SECONDS", 0.1)
    with pytest.raises(SlipwayError) as caught:
        require_free_ports("registry", [bound])
    assert caught.value.what == f"registry needs tcp port {bound.port} on 127.0.0.1, which is in use"
    assert caught.value.why.startswith(f"by process {os.getpid()}: ")
    assert "lab/settings.py" in caught.value.next_step


def test_free_ports_pass(bound: Listen) -> None:
    require_free_ports("registry", [Listen("127.0.0.2", bound.port)])


def test_a_port_that_is_let_go_in_time_passes() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    wanted = Listen("127.0.0.1", server.getsockname()[1])
    letting_go = threading.Timer(0.3, server.close)
    letting_go.start()
    require_free_ports("registry", [wanted])
    letting_go.join()


def test_a_signal_never_reaches_a_successor() -> None:
    own = proc.identify(os.getpid())
    assert own is not None
    proc.signal_process(ProcessId(own.pid, own.start_ticks - 1), signal.SIGKILL)
    assert proc.is_alive(own)


def test_zombies_do_not_count_as_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = ProcessId(child.pid, 0)
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert proc.identify(child.pid) is None
        assert not proc.is_alive(identity)
    finally:
        child.wait()


def test_a_process_is_known_by_the_folder_it_works_in(tmp_path: Path) -> None:
    script = "import sys, time; print(1, flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        found = proc.find_processes(lambda pid: proc.works_in(pid, tmp_path.stat()))
        assert [process.pid for process in found] == [child.pid]
    finally:
        child.kill()
        child.communicate()


def test_a_process_whose_other_threads_still_run_is_alive() -> None:
    """Its first thread ends and becomes a zombie; the process still holds all that it had."""
    script = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(600,)).start();"
        "print(1, flush=True); ctypes.CDLL(None).syscall(60 if __import__('platform').machine() == 'x86_64' else 93, 0)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + 5
        while " Z " not in Path(f"/proc/{child.pid}/stat").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert " Z " in Path(f"/proc/{child.pid}/stat").read_text()
        assert proc.identify(child.pid) is not None
    finally:
        child.kill()
        child.communicate()
    assert proc.identify(child.pid) is None


def test_memory_and_age_of_this_process_are_plausible() -> None:
    own = proc.identify(os.getpid())
    assert own is not None
    assert proc.resident_bytes(own.pid) > 1024 * 1024
    assert 0 < proc.age_seconds(own) < 86_400
