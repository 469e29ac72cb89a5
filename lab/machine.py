"""This machine: whether it can run a lab, and the kernel settings and mounts that a lab changes and puts back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from slipway.errors import ConfigurationError, SlipwayError

from .proc import PROC, boot_id
from .processes import Processes
from .settings import LabSettings
from .system import attempt, read_json_object, run, write_json

_NEEDED_BYTES = 5 * 1024**3
_SYSCTL = Path("/proc/sys")
# The lab sets the first; the kubelet sets the others at its start.
KERNEL_SETTINGS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def require_root() -> None:
    if os.geteuid() != 0:
        raise ConfigurationError(
            f"the lab needs root, and this is user {os.geteuid()}",
            why="it starts containers, and creates network interfaces and packet filter rules",
            next_step="run it as root (sudo), or set KUBECONFIG and slipway:registry to use a cluster of your own",
        )


def require_linux_features() -> None:
    """Raise ConfigurationError if the kernel, or the container around us, lacks a required feature."""
    if not Path("/sys/fs/cgroup").is_dir() or not any(Path("/sys/fs/cgroup").iterdir()):
        raise ConfigurationError(
            "there are no control groups under /sys/fs/cgroup", next_step="mount them, or boot a kernel that has them"
        )
    filters = attempt(["iptables", "--wait", "10", "-t", "nat", "-S"])
    if filters.returncode != 0:
        raise ConfigurationError(
            "packet filter rules cannot be created, so Services would not work",
            why=(filters.stderr or filters.stdout).strip()[-300:],
            next_step="load the modules ip_tables or nf_tables, iptable_nat; in a container, give it CAP_NET_ADMIN",
        )


def require_disk(settings: LabSettings) -> None:
    """Raise SlipwayError if the disk is too full for images, builds and logs."""
    free = shutil.disk_usage(settings.home if settings.home.exists() else settings.home.parent).free
    if free < _NEEDED_BYTES:
        raise SlipwayError(
            f"only {free / 1024**3:.1f} GiB are free in {settings.home}; the lab needs about 5",
            next_step="free some space, or set SLIPWAY_HOME to a folder on a larger disk",
        )


def require_own_runtime(settings: LabSettings) -> None:
    """Raise ConfigurationError if another lab uses /run/slipway-lab."""
    owner = settings.run / "home"
    if not owner.exists():
        return
    other = Path(owner.read_text().strip())
    if other != settings.home and Processes(replace(settings, home=other)).running_names():
        raise ConfigurationError(
            f"another lab is up on this machine: {other}",
            why=f"this one would be {settings.home}",
            next_step="run `slipway lab down` with the SLIPWAY_HOME of that lab first",
        )


def _kernel_settings_file(settings: LabSettings) -> Path:
    return settings.home / "host-settings.json"


def remember_kernel_settings(settings: LabSettings, root: Path = _SYSCTL) -> None:
    """Save the values from before the lab, once per boot, because a second read would return the lab's own."""
    known = read_json_object(_kernel_settings_file(settings))
    if known and known.get("boot_id") == boot_id():
        return
    values = {name: (root / name).read_text().strip() for name in KERNEL_SETTINGS if (root / name).exists()}
    write_json(_kernel_settings_file(settings), {"boot_id": boot_id(), "values": values})


def restore_kernel_settings(settings: LabSettings, root: Path = _SYSCTL) -> None:
    known = read_json_object(_kernel_settings_file(settings))
    if known and known.get("boot_id") == boot_id():
        for name, value in known["values"].items():
            if (root / name).read_text().strip() != value:
                (root / name).write_text(value)
    _kernel_settings_file(settings).unlink(missing_ok=True)


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
