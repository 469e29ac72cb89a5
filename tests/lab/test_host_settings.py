"""The kernel's settings are put back as they were before the lab, and only those that were noted in this boot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.host_settings import CHANGED, remember, restore
from lab.settings import LabSettings


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return LabSettings(home=tmp_path / "lab")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    for name in CHANGED[:3]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("0\n")
    return root


def test_put_back_even_when_up_ran_twice(settings: LabSettings, kernel: Path) -> None:
    remember(settings, kernel)
    (kernel / CHANGED[0]).write_text("1\n")
    remember(settings, kernel)
    restore(settings, kernel)
    assert (kernel / CHANGED[0]).read_text().strip() == "0"
    assert (kernel / CHANGED[1]).read_text() == "0\n"


def test_a_note_of_an_earlier_boot_is_not_used(settings: LabSettings, kernel: Path) -> None:
    remember(settings, kernel)
    note = settings.home / "host-settings.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "boot_id": "another"}))
    (kernel / CHANGED[0]).write_text("1\n")
    restore(settings, kernel)
    assert (kernel / CHANGED[0]).read_text() == "1\n"
    assert not note.exists()


def test_without_a_note_nothing_is_touched(settings: LabSettings, kernel: Path) -> None:
    restore(settings, kernel)
    assert (kernel / CHANGED[0]).read_text() == "0\n"
