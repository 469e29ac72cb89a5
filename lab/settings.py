"""Every address, port, name and folder of the lab, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway.paths import data_home

NODE_NAME = "slipway-lab"
CLUSTER_DOMAIN = "cluster.local"
IMAGE_FOLDER = "slipway"
# Databases and the services that use them; each environment has its own databases.
DATABASES = {"order_service": ("order-service", "order-worker", "order-cleanup"), "user_service": ("user-service",)}
# `lab up` creates databases for these environments; others get theirs with their first update.
ENVIRONMENTS = ("dev", "prod")


@dataclass(frozen=True)
class Ports:
    """TCP ports; `dns` is UDP as well. All listen on loopback or on the node address."""

    registry: int = 5000
    apiserver: int = 6443
    etcd: int = 2379
    etcd_peer: int = 2380
    # Not 5353: avahi holds that one on every address of a desktop machine.
    dns: int = 1053
    dns_ready: int = 8181
    postgres: int = 5433
    kubelet: int = 10250
    kubelet_health: int = 10248
    controller_manager: int = 10257
    scheduler: int = 10259
    proxy_health: int = 10256
    proxy_metrics: int = 10249
    containerd_streams: int = 10011


@dataclass(frozen=True)
class Network:
    """The lab's own networks.

    The node has its own address on its own interface. It stays the same when the machine changes networks, and
    other machines cannot reach it.
    """

    node_address: str = "10.97.0.1"
    node_interface: str = "slipway-node"
    pod_interface: str = "slipway0"
    pod_range: str = "10.244.0.0/16"
    node_pod_range: str = "10.244.0.0/24"
    pod_gateway: str = "10.244.0.1"
    service_range: str = "10.96.0.0/16"
    apiserver_service: str = "10.96.0.1"
    dns_service: str = "10.96.0.10"


@dataclass(frozen=True)
class LabSettings:
    """Where this lab is. `home` is kept between runs; `run` has data that a reboot makes useless."""

    home: Path
    run: Path = Path("/run/slipway-lab")
    cgroup: str = "slipway-lab"
    ports: Ports = Ports()
    network: Network = Network()

    @property
    def pki(self) -> Path:
        return self.home / "pki"

    @property
    def config(self) -> Path:
        """Files for the daemons, written again by every `up`."""
        return self.home / "config"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def records(self) -> Path:
        return self.home / "processes"

    @property
    def backend(self) -> Path:
        """Pulumi's file backend: the history of every stack; no command of the lab removes it."""
        return self.home / "backend"

    @property
    def passphrase_file(self) -> Path:
        return self.home / "passphrase"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def buildkit_socket(self) -> Path:
        return self.run / "buildkitd.sock"

    @property
    def registry_address(self) -> str:
        return f"127.0.0.1:{self.ports.registry}"

    @property
    def pause_image(self) -> str:
        return f"{self.registry_address}/{IMAGE_FOLDER}/pause:1"

    @property
    def apiserver_url(self) -> str:
        return f"https://127.0.0.1:{self.ports.apiserver}"


def load_settings() -> LabSettings:
    # Without symbolic links: mounts are found by their real paths.
    return LabSettings(home=(data_home() / "lab").resolve())
