"""CoreDNS, as a process of the host: answers for the cluster's names and asks the host's resolver for all others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .files import write_text
from .kubeconfig import component_kubeconfig
from .proc import Listen
from .processes import Daemon, http_probe
from .settings import CLUSTER_DOMAIN, LabSettings
from .shell import program

# First systemd-resolved's own list: the usual file may only name its stub.
_RESOLVER_FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))

_CONFIG = """\
# Written by `slipway lab up`.
.:{port} {{
    bind {address}
    errors
    ready 127.0.0.1:{ready_port}
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    {forward}
    cache 30 {{
        disable success {domain}
        disable denial {domain}
    }}
}}
"""
_FORWARD = """forward . {servers} {{
        max_concurrent 200
        failfast_all_unhealthy_upstreams
    }}"""


def nameservers(resolver_text: str, own_address: str) -> list[str]:
    """The nameservers of a resolv.conf without the lab's own, which would ask itself forever."""
    words = [line.split() for line in resolver_text.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in dict.fromkeys(servers) if server != own_address]


def host_nameservers(settings: LabSettings) -> list[str]:
    for path in _RESOLVER_FILES:
        if path.exists():
            return nameservers(path.read_text(), settings.network.node_address)
    return []


def resolver_file(settings: LabSettings) -> Path:
    return settings.config / "resolv.conf"


def config_file(settings: LabSettings) -> Path:
    return settings.config / "Corefile"


def write_config(settings: LabSettings) -> None:
    servers = host_nameservers(settings)
    # Without the host's search domains: each would add an outside query to every lookup of a pod.
    write_text(resolver_file(settings), "".join(f"nameserver {server}\n" for server in servers[:3]), mode=0o644)
    write_text(config_file(settings), render(settings, servers))


def render(settings: LabSettings, servers: Sequence[str]) -> str:
    return _CONFIG.format(
        port=settings.ports.dns,
        address=settings.network.node_address,
        ready_port=settings.ports.dns_ready,
        domain=CLUSTER_DOMAIN,
        kubeconfig=component_kubeconfig(settings, "dns"),
        forward=_FORWARD.format(servers=" ".join(servers)) if servers else "# this host has no resolver",
    )


def daemon(settings: LabSettings) -> Daemon:
    address, port = settings.network.node_address, settings.ports.dns
    return Daemon(
        name="coredns",
        command=(program("coredns"), "-conf", str(config_file(settings))),
        probe=http_probe(f"http://127.0.0.1:{settings.ports.dns_ready}/ready"),
        listens=(
            Listen(address, port),
            Listen(address, port, "udp"),
            Listen("127.0.0.1", settings.ports.dns_ready),
        ),
        inputs=(config_file(settings), component_kubeconfig(settings, "dns")),
    )
