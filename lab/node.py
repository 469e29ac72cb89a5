"""The node: the kubelet, which runs the pods, and kube-proxy, which makes Services answer."""

from __future__ import annotations

import json
from pathlib import Path

from .files import make_folder, write_text
from .kubeconfig import component_kubeconfig
from .proc import Listen
from .processes import Daemon, http_probe
from .settings import CLUSTER_DOMAIN, NODE_NAME, LabSettings
from .shell import program


def kubelet_folder(settings: LabSettings) -> Path:
    return settings.home / "kubelet"


def pod_logs_folder(settings: LabSettings) -> Path:
    return settings.home / "pod-logs"


def kubelet_config_file(settings: LabSettings) -> Path:
    return settings.config / "kubelet.yaml"


def write_kubelet_config(settings: LabSettings, resolver_file: Path) -> None:
    """`resolver_file` is the resolv.conf of pods with `dnsPolicy: Default`; CoreDNS forwards to its servers too."""
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
        "resolvConf": str(resolver_file),
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
        "imageGCHighThresholdPercent": 97,
        "imageGCLowThresholdPercent": 96,
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
