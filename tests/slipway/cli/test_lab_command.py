"""`slipway lab status` says which process is unwell, why, and what to do; its exit code says whether any is."""

from __future__ import annotations

import json

import pytest

from lab.lab import Lab
from lab.processes import ProcessStatus
from slipway.cli import lab as command

WELL = ProcessStatus("etcd", 41, "", 42 * 1024**2, 75.0, ("127.0.0.1:2379", "127.0.0.1:2380"), "/logs/etcd.log")
DEAD = ProcessStatus("coredns", None, "does not run", 0, 0.0, ("10.97.0.1:1053", "10.97.0.1:1053"), "/logs/coredns.log")
SICK = ProcessStatus("kubelet", 43, "answered 500", 1024**2, 3.0, (), "/logs/kubelet.log")


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def given(monkeypatch: pytest.MonkeyPatch, *found: ProcessStatus) -> None:
    monkeypatch.setattr(Lab, "status", lambda _: list(found))


def test_all_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, WELL)
    assert command.status() == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "process pid health memory up listens on",
        "etcd 41 healthy 42 MiB 1 min 15 s 127.0.0.1:2379, 127.0.0.1:2380",
        "1 of 1 healthy, 42 MiB in all",
        "The log of each is /logs/PROCESS.log",
    ]


def test_the_unwell_are_named_with_the_reason_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, WELL, DEAD, SICK)
    assert command.status() == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "coredns - does not run - - 10.97.0.1:1053" in lines
    assert "kubelet 43 answered 500 1 MiB 3.0 s" in lines
    assert "1 of 3 healthy, 43 MiB in all" in lines
    assert lines[-1] == "`slipway lab up` starts what is missing; the logs say why it ended."


def test_no_lab_at_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch)
    assert command.status() == 1
    assert capsys.readouterr().out == "There is no lab on this machine. Make one with `slipway lab up`.\n"


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, WELL, DEAD)
    assert command.status(json_output=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is False
    assert document["processes"][1] == {
        "name": "coredns",
        "pid": None,
        "problem": "does not run",
        "healthy": False,
        "memory_bytes": 0,
        "uptime_seconds": 0.0,
        "listens": ["10.97.0.1:1053", "10.97.0.1:1053"],
        "log": "/logs/coredns.log",
    }
