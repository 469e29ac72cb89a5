"""Tables fit a terminal of 80 columns, with what real commands had to show; a pipe gets a row on a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from lab.lab import Lab
from lab.processes import ProcessStatus
from lab.toolchain import PartStatus
from slipway.cli import doctor, lab
from slipway.progress import print_table

RECORDED = Path(__file__).parents[1] / "recorded"


def _recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def show_doctor(_: pytest.MonkeyPatch) -> None:
    doctor._print_table([PartStatus(**each) for each in _recorded("doctor")])


def show_doctor_with_much_to_do(_: pytest.MonkeyPatch) -> None:
    parts = [PartStatus(**{**each, "ok": False}) for each in _recorded("doctor")]
    to_do = "the program's SDK is 4.26.0 and asks for a plugin of that version, not 4.25.0; `pip install` installs it"
    doctor._print_table([PartStatus(**{**vars(part), "to_do": to_do}) for part in parts])


def show_lab_status(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[dict[str, Any]] = _recorded("lab-status")["processes"]
    processes = []
    for each in recorded:
        each.pop("healthy")  # the rest says it
        processes.append(ProcessStatus(**{**each, "listens": tuple(each["listens"])}))
    monkeypatch.setattr(Lab, "status", lambda _: processes)
    assert lab.status() == 0


@pytest.mark.parametrize("show", [show_doctor, show_doctor_with_much_to_do, show_lab_status])
def test_a_table_fits_80_columns(
    show: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show(monkeypatch)
    wide = capsys.readouterr().out
    assert max(map(cell_len, wide.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "80")
    show(monkeypatch)
    narrow = capsys.readouterr().out
    assert max(map(cell_len, narrow.splitlines())) <= 80
    assert set("".join(wide.split())) <= set("".join(narrow.split()))


def test_what_moves_under_its_row_keeps_its_heading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [("etcd", "1", "127.0.0.1:2379, 127.0.0.1:2380, 127.0.0.1:2381"), ("registry", "22", "-")]
    print_table(("process", "pid", "listens on"), rows, right=("pid",), below=("listens on",))
    assert capsys.readouterr().out.splitlines() == [
        "process   pid",
        "etcd        1",
        "    listens on: 127.0.0.1:2379,",
        "      127.0.0.1:2380, 127.0.0.1:2381",
        "registry   22",
    ]


def test_a_pipe_gets_a_row_on_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(("who", "what"), [("a" * 90, "b" * 90)], below=("what",))
    assert capsys.readouterr().out.splitlines()[1] == f"{'a' * 90}  {'b' * 90}"
