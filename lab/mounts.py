"""Finds and removes the mounts that a lab left behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from slipway.errors import SlipwayError

from .proc import PROC
from .settings import LabSettings
from .shell import attempt, run


def mount_points(mountinfo: str) -> list[Path]:
    """All mount points, in the order of mounting; mountinfo writes a blank as `\\040`."""
    return [
        Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4]))
        for line in mountinfo.splitlines()
    ]


def mounts_below(mountinfo: str, folders: Iterable[Path]) -> list[Path]:
    """Mounts in or below `folders`, in the order to unmount them: last mounted first."""
    roots = list(folders)
    return [
        point
        for point in reversed(mount_points(mountinfo))
        if any(point == folder or folder in point.parents for folder in roots)
    ]


def lab_folders(settings: LabSettings) -> list[Path]:
    """The folders in which the lab mounts. Not the lab's home itself: it may be on a disk of its own."""
    names = ("base-image", "buildkit", "containerd", "kubelet", "overlay-check")
    return [settings.run, *(settings.home / name for name in names)]


def current_mounts(folders: Iterable[Path]) -> list[Path]:
    return mounts_below((PROC / "self/mountinfo").read_text(), folders)


def unmount_below(folders: Iterable[Path]) -> None:
    """Unmount everything in or below `folders`; raises SlipwayError that names the rest."""
    roots = list(folders)
    for point in current_mounts(roots):
        if attempt(["umount", str(point)]).returncode != 0:
            attempt(["umount", "--lazy", str(point)])
    left = current_mounts(roots)
    if left:
        raise SlipwayError(
            f"{len(left)} mounts of the lab cannot be removed: {', '.join(map(str, left[:5]))}",
            next_step="find the processes that use them with `fuser -vm PATH`, then run `slipway lab down` again",
        )


def remove_tree(folder: Path) -> None:
    """Delete a folder of the lab, but nothing in file systems that are mounted there."""
    run(["rm", "-rf", "--one-file-system", "--", str(folder)])
