"""What this machine cannot carry is said before anything is made; its kernel settings and mounts are put back."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from rich.console import Console

from lab import machine, proc
from lab.lab import Lab
from lab.machine import (
    KERNEL_SETTINGS,
    lab_folders,
    mount_points,
    mounts_below,
    remember_kernel_settings,
    restore_kernel_settings,
)
from lab.settings import LabSettings
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /data rw - ext4 /dev/vdb rw
31 30 0:25 / /data/lab rw - ext4 /dev/vdc rw
40 31 0:40 / /data/lab/containerd/io.containerd/1/fs rw - overlay overlay rw
41 31 0:41 / /data/lab/kubelet/pods/a\\040b/volumes rw - tmpfs tmpfs rw
42 41 0:42 / /data/lab/kubelet/pods/a\\040b/volumes/inner rw - tmpfs tmpfs rw
43 22 0:43 / /data/lab/kubelet-of-somebody rw - tmpfs tmpfs rw
44 22 0:44 / /run/slipway-lab/netns/cni-1 rw - nsfs nsfs rw
45 22 0:45 / /run/slipway-lab-2/x rw - tmpfs tmpfs rw
46 22 0:46 / /run/netns/mine rw - nsfs nsfs rw
"""


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
        machine.require_own_runtime(settings)


def test_a_dead_lab_does_not_stand_in_the_way(settings: LabSettings, tmp_path: Path) -> None:
    settings.run.mkdir()
    (settings.run / "home").write_text(f"{tmp_path / 'other'}\n")
    machine.require_own_runtime(settings)


def test_a_full_disk_is_reported_beforehand(settings: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10 * 1024**3, 9 * 1024**3, 1024**3))
    settings.home.parent.mkdir(parents=True)
    with pytest.raises(SlipwayError, match=r"only 1\.0 GiB are free"):
        machine.require_disk(settings)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    for name in KERNEL_SETTINGS[:3]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("0\n")
    return root


def test_put_back_even_when_up_ran_twice(settings: LabSettings, kernel: Path) -> None:
    remember_kernel_settings(settings, kernel)
    (kernel / KERNEL_SETTINGS[0]).write_text("1\n")
    remember_kernel_settings(settings, kernel)
    restore_kernel_settings(settings, kernel)
    assert (kernel / KERNEL_SETTINGS[0]).read_text().strip() == "0"
    assert (kernel / KERNEL_SETTINGS[1]).read_text() == "0\n"


def test_a_note_of_an_earlier_boot_is_not_used(settings: LabSettings, kernel: Path) -> None:
    remember_kernel_settings(settings, kernel)
    note = settings.home / "host-settings.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "boot_id": "another"}))
    (kernel / KERNEL_SETTINGS[0]).write_text("1\n")
    restore_kernel_settings(settings, kernel)
    assert (kernel / KERNEL_SETTINGS[0]).read_text() == "1\n"
    assert not note.exists()


def test_without_a_note_nothing_is_touched(settings: LabSettings, kernel: Path) -> None:
    restore_kernel_settings(settings, kernel)
    assert (kernel / KERNEL_SETTINGS[0]).read_text() == "0\n"


def test_the_last_mounted_comes_first_and_others_stay() -> None:
    found = mounts_below(MOUNTINFO, lab_folders(LabSettings(home=Path("/data/lab"))))
    assert [str(path) for path in found] == [
        "/run/slipway-lab/netns/cni-1",
        "/data/lab/kubelet/pods/a b/volumes/inner",
        "/data/lab/kubelet/pods/a b/volumes",
        "/data/lab/containerd/io.containerd/1/fs",
    ]


def test_a_disk_that_the_user_mounted_as_the_labs_home_stays() -> None:
    assert Path("/data/lab") in mount_points(MOUNTINFO)
    assert Path("/data/lab") not in mounts_below(MOUNTINFO, lab_folders(LabSettings(home=Path("/data/lab"))))


def test_the_folder_itself_counts() -> None:
    assert mounts_below(MOUNTINFO, [Path("/run/netns/mine")]) == [Path("/run/netns/mine")]
