"""The lab's control groups (cgroups): every container runs below them, so they show which processes are the lab's."""

from __future__ import annotations

import os
import time
from pathlib import Path

from slipway.errors import ConfigurationError

from .proc import ProcessId, identify, stop_all
from .settings import LabSettings

ROOT = Path("/sys/fs/cgroup")
_REMOVAL_SECONDS = 10.0
# Controllers that the kubelet's root group must have (version 1).
_NEEDED = ("cpu", "cpuset", "memory", "pids")


def is_unified(root: Path = ROOT) -> bool:
    """Whether this is a machine with cgroup version 2 only."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The roots of all hierarchies: one on version 2, one for each controller on version 1."""
    if is_unified(root):
        return [root]
    return [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def create(settings: LabSettings, root: Path = ROOT) -> None:
    """Create the lab's root group, which the kubelet requires."""
    if is_unified(root):
        group = root / settings.cgroup
        group.mkdir(exist_ok=True)
        for folder in (root, group):
            _pass_on_controllers(folder)
        return
    missing = [name for name in _NEEDED if not (root / name).exists()]
    if missing:
        raise ConfigurationError(
            f"the control groups {', '.join(missing)} are missing under {root}",
            next_step="mount them, or boot with cgroup version 2; in a container, run it with its own cgroup namespace",
        )
    for hierarchy in hierarchies(root):
        group = hierarchy / settings.cgroup
        group.mkdir(exist_ok=True)
        # A new cpuset of version 1 is empty, and nothing can run in it.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists() and not (group / name).read_text().strip():
                (group / name).write_text((group.parent / name).read_text())


def _pass_on_controllers(folder: Path) -> None:
    available = (folder / "cgroup.controllers").read_text().split()
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    for name in sorted(set(available) - set(enabled)):
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError as error:
            raise ConfigurationError(
                f"the controller {name} cannot be enabled in the control group {folder}: {error.strerror}",
                why="in a container, processes in its root group prevent this",
                next_step="move them into another group first, or run the lab on the machine itself",
            ) from error


def groups(settings: LabSettings, root: Path = ROOT) -> list[Path]:
    """All groups of the lab, the deepest first."""
    found: list[Path] = []
    for hierarchy in hierarchies(root):
        top = hierarchy / settings.cgroup
        # `os.walk` ignores groups that disappear meanwhile, as the groups of ending containers do.
        found += [Path(folder) for folder, _, _ in os.walk(top)]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def processes(settings: LabSettings, root: Path = ROOT) -> set[ProcessId]:
    """Every process in the lab's groups, of pods and of image builds."""
    found = set()
    for group in groups(settings, root):
        try:
            pids = (group / "cgroup.procs").read_text().split()
        except OSError:  # removed meanwhile
            continue
        found |= {process for pid in pids if (process := identify(int(pid)))}
    return found


def stop_processes(settings: LabSettings, grace_seconds: float) -> None:
    """End every container: terminate, then kill, until none is left that started meanwhile."""
    stop_all(processes(settings), grace_seconds)
    for _ in range(20):
        left = processes(settings)
        if not left:
            return
        stop_all(left, 0)


def remove(settings: LabSettings, root: Path = ROOT) -> None:
    """Remove the groups. Retries, because the kernel holds a group for a moment after its last process ended."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while left := groups(settings, root):
        for group in left:
            try:
                group.rmdir()
            except FileNotFoundError:  # the runtime removed it first
                continue
            except OSError:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.05)
