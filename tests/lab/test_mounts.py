"""Mounts of the lab are told from everybody else's by whole path components."""

from __future__ import annotations

from pathlib import Path

from lab.mounts import lab_folders, mount_points, mounts_below
from lab.settings import LabSettings

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
