"""Removes leftovers of dead daemons: containers, mounts, sockets, veth pairs, addresses."""

from __future__ import annotations

from pathlib import Path

from . import base_image, buildkit, cgroups, containerd, mounts, network, node, postgres, proc
from .processes import Processes
from .settings import LabSettings

_LOG_LINKS = Path("/var/log/containers")


def clear(settings: LabSettings, processes: Processes) -> None:
    """Clean up for a fresh start of every part that is not running; leaves running parts unchanged."""
    proc.stop_all(processes.strays(base_image.PROCESS_NAME), 5)
    mounts.unmount_below([base_image.work_folder(settings)])
    if processes.running("buildkitd") is None and not processes.strays("buildkitd"):
        mounts.unmount_below([settings.home / "buildkit", buildkit.temporary_folder(settings)])
        mounts.remove_tree(buildkit.temporary_folder(settings))
        settings.buildkit_socket.unlink(missing_ok=True)
    if processes.running("postgres") is None:
        postgres.clear_after_crash(settings)
    # While shims run, a new containerd adopts their pods; without any, its state about pods is useless.
    if processes.running("containerd") is None and not processes.strays("containerd"):
        clear_pods(settings)


def clear_pods(settings: LabSettings) -> None:
    """Remove every trace of running pods; containerd and its shims must be gone."""
    cgroups.stop_processes(settings, grace_seconds=0)
    sockets = shim_sockets(settings)
    mounts.unmount_below(
        [containerd.state_folder(settings), containerd.root_folder(settings), node.kubelet_folder(settings)]
    )
    for folder in (
        containerd.state_folder(settings),
        containerd.runc_folder(settings),
        network.address_folder(settings),
    ):
        mounts.remove_tree(folder)
    for path in (settings.containerd_socket, Path(f"{settings.containerd_socket}.ttrpc"), *sockets):
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in sockets}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    network.remove_pod_links(settings)
    network.remove_results(settings)


def shim_sockets(settings: LabSettings) -> list[Path]:
    """The shims' sockets outside containerd's own folders, from the `address` file of each pod."""
    notes = containerd.state_folder(settings).glob("io.containerd.runtime.v2.task/*/*/address")
    return [Path(note.read_text().strip().removeprefix("unix://")) for note in notes]


def remove_log_links(settings: LabSettings) -> None:
    """Remove the kubelet's links to the pods' logs from a folder of the system."""
    if not _LOG_LINKS.is_dir():
        return
    for link in _LOG_LINKS.iterdir():
        if link.is_symlink() and node.pod_logs_folder(settings) in link.readlink().parents:
            link.unlink()
