"""The node: containerd and the kubelet, which run the pods, kube-proxy for Services, and CoreDNS for names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from slipway.errors import ConfigurationError

from .pki import component_kubeconfig
from .proc import Listen
from .processes import Daemon, http_probe, runtime_probe
from .settings import CLUSTER_DOMAIN, NODE_NAME, LabSettings
from .system import attempt, make_folder, program, run, write_text

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
# Every CNI plugin that a pod's network uses, including containerd's own check of the loopback.
CNI_PLUGINS = ("bridge", "host-local", "loopback")

_CONTAINERD_CONFIG = """\
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
_DISABLED_PLUGINS = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)
# First systemd-resolved's own list: the usual file may only name its stub.
_RESOLVER_FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))

_COREFILE = """\
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


def containerd_root_folder(settings: LabSettings) -> Path:
    return settings.home / "containerd"


def containerd_state_folder(settings: LabSettings) -> Path:
    return settings.run / "containerd"


def runc_folder(settings: LabSettings) -> Path:
    return settings.run / "runc"


def cni_config_folder(settings: LabSettings) -> Path:
    return settings.config / "cni"


def snapshotter(settings: LabSettings) -> str:
    """`overlayfs` if the kernel can mount an overlay in the lab's folder, else `native` (plain copies)."""
    kept = settings.config / "snapshotter"
    if kept.exists() and kept.read_text() in ("overlayfs", "native"):
        return kept.read_text()
    folder = make_folder(settings.home / "overlay-check")
    lower, upper, work, merged = (make_folder(folder / name) for name in ("lower", "upper", "work", "merged"))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    works = attempt(["mount", "-t", "overlay", "slipway-check", "-o", options, str(merged)]).returncode == 0
    if works:
        run(["umount", str(merged)])
    run(["rm", "-rf", "--one-file-system", str(folder)])
    chosen = "overlayfs" if works else "native"
    write_text(kept, chosen)
    return chosen


def containerd_config_file(settings: LabSettings) -> Path:
    return settings.config / "containerd.toml"


def write_containerd_config(settings: LabSettings) -> None:
    registries = settings.config / "registries"
    # containerd looks for a folder with the registry's exact name, including the colon.
    write_text(
        registries / settings.registry_address / "hosts.toml",
        f'server = "http://{settings.registry_address}"\n\n[host."http://{settings.registry_address}"]\n'
        '  capabilities = ["pull", "resolve"]\n',
    )
    complete = [folder for folder in CNI_FOLDERS if all((folder / name).exists() for name in CNI_PLUGINS)]
    if not complete:
        raise ConfigurationError(
            f"the CNI plugins {', '.join(CNI_PLUGINS)} were not found",
            why=f"looked in {', '.join(map(str, CNI_FOLDERS))}",
            next_step="install the Debian package containernetworking-plugins",
        )
    write_text(
        containerd_config_file(settings),
        _CONTAINERD_CONFIG.format(
            root=containerd_root_folder(settings),
            state=containerd_state_folder(settings),
            socket=settings.containerd_socket,
            pause_image=settings.pause_image,
            streams_port=settings.ports.containerd_streams,
            cni_programs=complete[0],
            cni_config=cni_config_folder(settings),
            snapshotter=snapshotter(settings),
            runc=program("runc"),
            runc_state=runc_folder(settings),
            registries=registries,
            disabled=", ".join(f'"{name}"' for name in _DISABLED_PLUGINS),
        ),
    )


def containerd(settings: LabSettings) -> Daemon:
    return Daemon(
        name="containerd",
        command=(program("containerd"), "--config", str(containerd_config_file(settings))),
        probe=runtime_probe(settings.containerd_socket),
        socket=settings.containerd_socket,
        inputs=(
            containerd_config_file(settings),
            settings.config / "registries" / settings.registry_address / "hosts.toml",
        ),
    )


def kubelet_folder(settings: LabSettings) -> Path:
    return settings.home / "kubelet"


def pod_logs_folder(settings: LabSettings) -> Path:
    return settings.home / "pod-logs"


def kubelet_config_file(settings: LabSettings) -> Path:
    return settings.config / "kubelet.yaml"


def write_kubelet_config(settings: LabSettings) -> None:
    pki = settings.pki
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.network.node_address,
        "port": settings.ports.kubelet,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": settings.ports.kubelet_health,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{settings.containerd_socket}",
        "clusterDNS": [settings.network.dns_service],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(resolver_file(settings)),
        # All pods run below one cgroup of the lab, whatever else runs containers on this machine.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(make_folder(pod_logs_folder(settings))),
        "volumePluginDir": str(make_folder(kubelet_folder(settings) / "volume-plugins")),
        "maxPods": 200,
        # A lab shares its disk with the user's files: evict pods only at the last percent.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        # No collection of images but by the eviction above: the first one, at the kubelet's start, now and then found
        # no statistics of its file systems yet, which ends the kubelet (cAdvisor's GetFsInfo).
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
    }
    write_text(kubelet_config_file(settings), json.dumps(config, indent=2) + "\n")


def kubelet(settings: LabSettings) -> Daemon:
    kubeconfig, config = component_kubeconfig(settings, "kubelet"), kubelet_config_file(settings)
    return Daemon(
        name="kubelet",
        command=(
            program("kube"),
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={settings.network.node_address}",
            f"--root-dir={kubelet_folder(settings)}",
            f"--cert-dir={settings.pki}",
        ),
        probe=http_probe(f"http://127.0.0.1:{settings.ports.kubelet_health}/healthz"),
        listens=(
            Listen(settings.network.node_address, settings.ports.kubelet),
            Listen("127.0.0.1", settings.ports.kubelet_health),
        ),
        inputs=(config, kubeconfig, settings.pki / "kubelet.crt", settings.pki / "ca.crt"),
    )


def kube_proxy(settings: LabSettings) -> Daemon:
    kubeconfig, ports = component_kubeconfig(settings, "proxy"), settings.ports
    return Daemon(
        name="kube-proxy",
        command=(
            program("kube"),
            "kube-proxy",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE_NAME}",
            f"--cluster-cidr={settings.network.pod_range}",
            "--proxy-mode=iptables",
            f"--bind-address={settings.network.node_address}",
            f"--healthz-bind-address=127.0.0.1:{ports.proxy_health}",
            f"--metrics-bind-address=127.0.0.1:{ports.proxy_metrics}",
            f"--nodeport-addresses={settings.network.node_address}/32",
            "--iptables-localhost-nodeports=false",
            "--iptables-min-sync-period=100ms",
            # The lab must not change the host's connection tracking.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ),
        probe=http_probe(f"http://127.0.0.1:{ports.proxy_health}/healthz"),
        listens=(Listen("127.0.0.1", ports.proxy_health), Listen("127.0.0.1", ports.proxy_metrics)),
        inputs=(kubeconfig,),
    )


def nameservers(resolver_text: str, own_address: str) -> list[str]:
    """The nameservers of a resolv.conf without the lab's own, which would ask itself forever."""
    words = [line.split() for line in resolver_text.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in dict.fromkeys(servers) if server != own_address]


def resolver_file(settings: LabSettings) -> Path:
    """The resolv.conf of pods with `dnsPolicy: Default`; CoreDNS forwards to its servers too."""
    return settings.config / "resolv.conf"


def corefile(settings: LabSettings) -> Path:
    return settings.config / "Corefile"


def write_coredns_config(settings: LabSettings) -> None:
    resolvers = [path for path in _RESOLVER_FILES if path.exists()]
    servers = nameservers(resolvers[0].read_text(), settings.network.node_address) if resolvers else []
    # Without the host's search domains: each would add an outside query to every lookup of a pod.
    write_text(resolver_file(settings), "".join(f"nameserver {server}\n" for server in servers[:3]), mode=0o644)
    write_text(corefile(settings), render_corefile(settings, servers))


def render_corefile(settings: LabSettings, servers: Sequence[str]) -> str:
    return _COREFILE.format(
        port=settings.ports.dns,
        address=settings.network.node_address,
        ready_port=settings.ports.dns_ready,
        domain=CLUSTER_DOMAIN,
        kubeconfig=component_kubeconfig(settings, "dns"),
        forward=_FORWARD.format(servers=" ".join(servers)) if servers else "# this host has no resolver",
    )


def coredns(settings: LabSettings) -> Daemon:
    """A process of the host: answers for the cluster's names, and asks the host's resolver for all others."""
    address, port = settings.network.node_address, settings.ports.dns
    return Daemon(
        name="coredns",
        command=(program("coredns"), "-conf", str(corefile(settings))),
        probe=http_probe(f"http://127.0.0.1:{settings.ports.dns_ready}/ready"),
        listens=(
            Listen(address, port),
            Listen(address, port, "udp"),
            Listen("127.0.0.1", settings.ports.dns_ready),
        ),
        inputs=(corefile(settings), component_kubeconfig(settings, "dns")),
    )
