"""The lab's control groups on both versions, on folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import cgroups
from lab.settings import LabSettings
from slipway.errors import ConfigurationError


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return LabSettings(home=tmp_path / "lab", cgroup="lab-under-test")


def version_1(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


def test_version_1_gets_a_group_in_every_hierarchy(tmp_path: Path, settings: LabSettings) -> None:
    root = version_1(tmp_path / "cgroup", "cpu", "cpuset", "memory", "pids", "systemd")
    (root / "cpu,cpuacct").symlink_to(root / "cpu")
    cgroups.create(settings, root)
    found = {str(path.relative_to(root)) for path in cgroups.groups(settings, root)}
    assert found == {f"{name}/lab-under-test" for name in ("cpu", "cpuset", "memory", "pids", "systemd")}


def test_a_new_cpuset_group_may_use_what_its_parent_may(tmp_path: Path, settings: LabSettings) -> None:
    root = version_1(tmp_path / "cgroup", "cpu", "memory", "pids", "cpuset/lab-under-test")
    (root / "cpuset/cpuset.cpus").write_text("0-1\n")
    (root / "cpuset/lab-under-test/cpuset.cpus").write_text("\n")
    cgroups.create(settings, root)
    assert (root / "cpuset/lab-under-test/cpuset.cpus").read_text() == "0-1\n"


def test_a_missing_controller_is_named(tmp_path: Path, settings: LabSettings) -> None:
    root = version_1(tmp_path / "cgroup", "cpu", "cpuset", "pids")
    with pytest.raises(ConfigurationError, match="control groups memory are missing"):
        cgroups.create(settings, root)


def test_version_2_passes_its_controllers_on(tmp_path: Path, settings: LabSettings) -> None:
    root = tmp_path / "cgroup"
    group = root / "lab-under-test"
    group.mkdir(parents=True)
    for folder in (root, group):
        (folder / "cgroup.controllers").write_text("cpu memory\n")
        (folder / "cgroup.subtree_control").write_text("memory\n")
    cgroups.create(settings, root)
    assert (root / "cgroup.subtree_control").read_text() == "+cpu"
    assert (group / "cgroup.subtree_control").read_text() == "+cpu"


def test_a_group_that_is_in_use_is_waited_for_and_then_named(
    tmp_path: Path, settings: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_REMOVAL_SECONDS", 0.2)
    root = version_1(tmp_path / "cgroup", "memory/lab-under-test/kubepods")
    (root / "memory/lab-under-test/kubepods/cgroup.procs").write_text("1\n")
    with pytest.raises(OSError, match="kubepods"):
        cgroups.remove(settings, root)


def test_removed_from_the_deepest(tmp_path: Path, settings: LabSettings) -> None:
    root = version_1(tmp_path / "cgroup", "memory/lab-under-test/kubepods/pod1/c1", "memory/of-somebody-else")
    cgroups.remove(settings, root)
    assert [path.name for path in (root / "memory").iterdir()] == ["of-somebody-else"]
