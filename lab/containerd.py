"""containerd, which runs the pods: its configuration and its daemon."""

from __future__ import annotations

from pathlib import Path

from slipway.errors import ConfigurationError

from .files import make_folder, write_text
from .processes import Daemon, runtime_probe
from .settings import LabSettings
from .shell import attempt, program, run

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
# Every CNI plugin that a pod's network uses, including containerd's own check of the loopback.
CNI_PLUGINS = ("bridge", "host-local", "loopback")

_CONFIG = """\
# Written by `slipway lab up`.
version = 2
root = "{root}"
state = "{state}"
imports = []
disabled_plugins = [{disabled}]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Kernels that refuse to lower oom_score_adj would otherwise fail every pod at its start.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "{streams_port}"
  max_concurrent_downloads = 6

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_programs}"
    conf_dir = "{cni_config}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{runc_state}"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
"""
# Plugins that a lab does not need, or that would look at folders outside it.
_DISABLED = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


def root_folder(settings: LabSettings) -> Path:
    return settings.home / "containerd"


def state_folder(settings: LabSettings) -> Path:
    return settings.run / "containerd"


def runc_folder(settings: LabSettings) -> Path:
    return settings.run / "runc"


def cni_config_folder(settings: LabSettings) -> Path:
    return settings.config / "cni"


def cni_program_folder() -> Path:
    for folder in CNI_FOLDERS:
        if all((folder / name).exists() for name in CNI_PLUGINS):
            return folder
    raise ConfigurationError(
        f"the CNI plugins {', '.join(CNI_PLUGINS)} were not found",
        why=f"looked in {', '.join(map(str, CNI_FOLDERS))}",
        next_step="install the Debian package containernetworking-plugins",
    )


def snapshotter(settings: LabSettings) -> str:
    """`overlayfs` if the kernel can mount an overlay in the lab's folder, else `native` (plain copies)."""
    kept = settings.config / "snapshotter"
    if kept.exists() and kept.read_text() in ("overlayfs", "native"):
        return kept.read_text()
    chosen = "overlayfs" if _overlay_works(make_folder(settings.home / "overlay-check")) else "native"
    write_text(kept, chosen)
    return chosen


def _overlay_works(folder: Path) -> bool:
    lower, upper, work, merged = (make_folder(folder / name) for name in ("lower", "upper", "work", "merged"))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    works = attempt(["mount", "-t", "overlay", "slipway-check", "-o", options, str(merged)]).returncode == 0
    if works:
        run(["umount", str(merged)])
    run(["rm", "-rf", "--one-file-system", str(folder)])
    return works


def config_file(settings: LabSettings) -> Path:
    return settings.config / "containerd.toml"


def write_config(settings: LabSettings) -> None:
    registries = settings.config / "registries"
    # containerd looks for a folder with the registry's exact name, including the colon.
    write_text(
        registries / settings.registry_address / "hosts.toml",
        f'server = "http://{settings.registry_address}"\n\n[host."http://{settings.registry_address}"]\n'
        '  capabilities = ["pull", "resolve"]\n',
    )
    write_text(
        config_file(settings),
        _CONFIG.format(
            root=root_folder(settings),
            state=state_folder(settings),
            socket=settings.containerd_socket,
            pause_image=settings.pause_image,
            streams_port=settings.ports.containerd_streams,
            cni_programs=cni_program_folder(),
            cni_config=cni_config_folder(settings),
            snapshotter=snapshotter(settings),
            runc=program("runc"),
            runc_state=runc_folder(settings),
            registries=registries,
            disabled=", ".join(f'"{name}"' for name in _DISABLED),
        ),
    )


def daemon(settings: LabSettings) -> Daemon:
    return Daemon(
        name="containerd",
        command=(program("containerd"), "--config", str(config_file(settings))),
        probe=runtime_probe(settings.containerd_socket),
        socket=settings.containerd_socket,
        inputs=(config_file(settings), settings.config / "registries" / settings.registry_address / "hosts.toml"),
    )
