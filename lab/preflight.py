"""Checks, before anything is made, whether this machine can run a lab."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from slipway.errors import ConfigurationError, SlipwayError

from .processes import Processes
from .settings import LabSettings
from .shell import attempt

_NEEDED_BYTES = 5 * 1024**3


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
