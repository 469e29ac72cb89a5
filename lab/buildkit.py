"""BuildKit, which builds images, and the buildx builder that makes the docker-build provider find it."""

from __future__ import annotations

import json
from pathlib import Path

from .files import make_folder, write_text
from .processes import Daemon, command_probe
from .settings import LabSettings
from .shell import program

BUILDER_NAME = "slipway-lab"
# Above this size of the build cache, BuildKit removes its oldest entries.
CACHE_LIMIT = "8GB"

_CONFIG = """\
# Written by `slipway lab up`.
root = "{root}"

[grpc]
  address = ["unix://{socket}"]

[worker.oci]
  enabled = true
  binary = "{runc}"
  snapshotter = "{snapshotter}"
  networkMode = "host"
  defaultCgroupParent = "{cgroup}/buildkit"
  max-parallelism = 4
  gc = true

  [[worker.oci.gcpolicy]]
    all = true
    maxUsedSpace = "{cache_limit}"

[worker.containerd]
  enabled = false

[registry."{registry}"]
  http = true
"""


def config_file(settings: LabSettings) -> Path:
    return settings.config / "buildkitd.toml"


def temporary_folder(settings: LabSettings) -> Path:
    """BuildKit's temporary folder. It contains mounts, so it is where the lab's clean-up looks."""
    return settings.run / "buildkit-tmp"


def buildx_folder(settings: LabSettings) -> Path:
    """The folder that BUILDX_CONFIG names: builders are in `instances/`, the chosen one in `current`."""
    return settings.home / "buildx"


def write_config(settings: LabSettings, snapshotter: str) -> None:
    make_folder(temporary_folder(settings))
    write_text(
        config_file(settings),
        _CONFIG.format(
            root=settings.home / "buildkit",
            socket=settings.buildkit_socket,
            runc=program("runc"),
            snapshotter=snapshotter,
            cgroup=settings.cgroup,
            cache_limit=CACHE_LIMIT,
            registry=settings.registry_address,
        ),
    )


def write_builder(settings: LabSettings) -> None:
    """Register the daemon as buildx's current builder, so that a build that names no builder uses it."""
    folder = make_folder(buildx_folder(settings))
    for name in ("instances", "defaults", "activity"):
        make_folder(folder / name)
    node = {"Name": f"{BUILDER_NAME}0", "Endpoint": f"unix://{settings.buildkit_socket}"}
    instance = {"Name": BUILDER_NAME, "Driver": "remote", "Nodes": [node], "Dynamic": False}
    write_text(folder / "instances" / BUILDER_NAME, json.dumps(instance))
    # Global: for every Docker endpoint or context of the user.
    write_text(folder / "current", json.dumps({"Key": "", "Name": BUILDER_NAME, "Global": True}))


def daemon(settings: LabSettings) -> Daemon:
    socket = settings.buildkit_socket
    return Daemon(
        name="buildkitd",
        command=(program("buildkitd"), "--config", str(config_file(settings))),
        probe=command_probe(["buildctl", "--addr", f"unix://{socket}", "debug", "workers"]),
        socket=socket,
        inputs=(config_file(settings),),
        environment={"TMPDIR": str(temporary_folder(settings))},
    )
