"""What this machine cannot carry is said before anything is made."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from rich.console import Console

from lab import preflight, proc
from lab.lab import Lab
from lab.settings import LabSettings
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return LabSettings(home=tmp_path / "home" / "lab", run=tmp_path / "run")


@pytest.mark.parametrize("command", ["up", "down"])
def test_without_root_nothing_is_made(settings: LabSettings, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError) as caught:
        getattr(Lab(settings, Progress(Console(file=io.StringIO()))), command)()
    assert caught.value.what == "the lab needs root, and this is user 1000"
    assert "KUBECONFIG" in caught.value.next_step
    assert caught.value.code is ExitCode.USAGE
    assert not settings.home.exists()
    assert not settings.run.exists()


def test_a_second_lab_is_refused_while_the_first_one_runs(settings: LabSettings, tmp_path: Path) -> None:
    other = tmp_path / "other"
    own = proc.identify(os.getpid())
    assert own is not None
    record = {"pid": own.pid, "start_ticks": own.start_ticks, "boot_id": proc.boot_id()}
    (other / "processes").mkdir(parents=True)
    (other / "processes" / "etcd.json").write_text(json.dumps(record))
    settings.run.mkdir()
    (settings.run / "home").write_text(f"{other}\n")
    with pytest.raises(ConfigurationError, match=r"another lab is up on this machine: .*/other"):
        preflight.require_own_runtime(settings)


def test_a_dead_lab_does_not_stand_in_the_way(settings: LabSettings, tmp_path: Path) -> None:
    settings.run.mkdir()
    (settings.run / "home").write_text(f"{tmp_path / 'other'}\n")
    preflight.require_own_runtime(settings)


def test_a_full_disk_is_reported_beforehand(settings: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10 * 1024**3, 9 * 1024**3, 1024**3))
    settings.home.parent.mkdir(parents=True)
    with pytest.raises(SlipwayError, match=r"only 1\.0 GiB are free"):
        preflight.require_disk(settings)
