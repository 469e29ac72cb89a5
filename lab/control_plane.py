"""The control plane: etcd, the API server, the controller manager, the scheduler, and the lab's own objects in it;
and the wait for the node.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from slipway.errors import SlipwayError

from . import machine
from .pki import ETCD_AUTHORITY, component_kubeconfig
from .proc import Listen
from .processes import Daemon, client_context, http_probe
from .settings import CLUSTER_DOMAIN, NODE_NAME, LabSettings
from .system import make_folder, program, run, write_bytes

# The API server has its own user id, so that a packet filter can match its packets. Tests block it from the pods, as in
# a cluster that enforces NetworkPolicies. Debian reserves the id, so no account has it.
# https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes
APISERVER_USER_ID = 65530
_FIELD_MANAGER = "slipway-lab"
_OBJECT_PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Service": "/api/v1/namespaces/kube-system/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
}


def etcd_url(settings: LabSettings) -> str:
    return f"https://127.0.0.1:{settings.ports.etcd}"


def etcd(settings: LabSettings) -> Daemon:
    pki, peer_url = settings.pki, f"https://127.0.0.1:{settings.ports.etcd_peer}"
    authority, pair = pki / f"{ETCD_AUTHORITY}.crt", (pki / "etcd.crt", pki / "etcd.key")
    return Daemon(
        name="etcd",
        command=(
            program("etcd"),
            "--name=slipway-lab",
            f"--data-dir={settings.home / 'etcd'}",
            f"--listen-client-urls={etcd_url(settings)}",
            f"--advertise-client-urls={etcd_url(settings)}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=slipway-lab={peer_url}",
            "--client-cert-auth",
            f"--trusted-ca-file={authority}",
            f"--cert-file={pair[0]}",
            f"--key-file={pair[1]}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={authority}",
            f"--peer-cert-file={pair[0]}",
            f"--peer-key-file={pair[1]}",
            # A lab is created and deleted all day: keep few old revisions and few old logs.
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=1h",
            "--max-snapshots=2",
            "--max-wals=2",
            "--snapshot-count=10000",
        ),
        probe=http_probe(f"{etcd_url(settings)}/health", authority, pki / "etcd-client.crt"),
        listens=(Listen("127.0.0.1", settings.ports.etcd), Listen("127.0.0.1", settings.ports.etcd_peer)),
        inputs=(authority, *pair),
    )


def _apiserver_files(settings: LabSettings) -> dict[str, Path]:
    """The keys and certificates of the API server, by option."""
    pki = settings.pki
    return {
        "--etcd-cafile": pki / f"{ETCD_AUTHORITY}.crt",
        "--etcd-certfile": pki / "etcd-client.crt",
        "--etcd-keyfile": pki / "etcd-client.key",
        "--client-ca-file": pki / "ca.crt",
        "--tls-cert-file": pki / "apiserver.crt",
        "--tls-private-key-file": pki / "apiserver.key",
        "--kubelet-certificate-authority": pki / "ca.crt",
        "--kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "--kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "--service-account-key-file": pki / "service-account.pub",
        "--service-account-signing-key-file": pki / "service-account.key",
    }


def apiserver_folder(settings: LabSettings) -> Path:
    """The API server's files, in a folder that its own user can read: only root can read the lab's home."""
    return settings.run / "kube-apiserver"


def prepare_apiserver(settings: LabSettings) -> None:
    """Copy the API server's keys and certificates, and bind-mount its program, which may be in a closed home folder."""
    folder = make_folder(apiserver_folder(settings))
    os.chown(folder, APISERVER_USER_ID, APISERVER_USER_ID)
    for source in set(_apiserver_files(settings).values()):
        write_bytes(folder / source.name, source.read_bytes())
        os.chown(folder / source.name, APISERVER_USER_ID, APISERVER_USER_ID)
    source, reachable = Path(program("kube")), folder / "kube"
    if not reachable.exists():
        reachable.touch()
    if not reachable.samefile(source):
        machine.unmount_below([reachable])  # of another version
        run(["mount", "--bind", str(source), str(reachable)])


def apiserver(settings: LabSettings) -> Daemon:
    pki, network, ports = settings.pki, settings.network, settings.ports
    folder, files = apiserver_folder(settings), _apiserver_files(settings)
    return Daemon(
        name="kube-apiserver",
        command=(
            str(folder / "kube"),
            "kube-apiserver",
            f"--etcd-servers={etcd_url(settings)}",
            # Loopback and node address: the lab's firewall blocks other machines.
            "--bind-address=0.0.0.0",
            f"--secure-port={ports.apiserver}",
            f"--advertise-address={network.node_address}",
            f"--service-cluster-ip-range={network.service_range}",
            f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
            "--anonymous-auth=false",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            # Logs and exec would otherwise look up the node's name.
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
            *(f"{flag}={folder / path.name}" for flag, path in files.items()),
        ),
        probe=http_probe(f"{settings.apiserver_url}/readyz", pki / "ca.crt", pki / "admin.crt"),
        listens=(Listen("0.0.0.0", ports.apiserver),),  # noqa: S104 - see above
        inputs=tuple(files.values()),
        # Restarts it for another version: the command names only the bind mount, which stays the same.
        environment={"SLIPWAY_LAB_PROGRAM": program("kube")},
        user=APISERVER_USER_ID,
        ready_timeout_seconds=120,
        stop_timeout_seconds=15,
    )


def controller_manager(settings: LabSettings) -> Daemon:
    pki, network, port = settings.pki, settings.network, settings.ports.controller_manager
    kubeconfig = component_kubeconfig(settings, "controller-manager")
    return Daemon(
        name="kube-controller-manager",
        command=(
            program("kube"),
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            # At the default of 20 requests a second, an update of a hundred objects waits for its controllers.
            "--kube-api-qps=300",
            "--kube-api-burst=600",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={pki / 'controller-manager.crt'}",
            f"--tls-private-key-file={pki / 'controller-manager.key'}",
            f"--service-account-private-key-file={pki / 'service-account.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--allocate-node-cidrs",
            f"--cluster-cidr={network.pod_range}",
            f"--service-cluster-ip-range={network.service_range}",
            "--profiling=false",
        ),
        probe=http_probe(f"https://127.0.0.1:{port}/healthz", pki / "ca.crt"),
        listens=(Listen("127.0.0.1", port),),
        inputs=(kubeconfig, pki / "controller-manager.crt", pki / "service-account.key", pki / "ca.crt"),
    )


def scheduler(settings: LabSettings) -> Daemon:
    pki, port = settings.pki, settings.ports.scheduler
    kubeconfig = component_kubeconfig(settings, "scheduler")
    return Daemon(
        name="kube-scheduler",
        command=(
            program("kube"),
            "kube-scheduler",
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={pki / 'scheduler.crt'}",
            f"--tls-private-key-file={pki / 'scheduler.key'}",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--profiling=false",
        ),
        probe=http_probe(f"https://127.0.0.1:{port}/healthz", pki / "ca.crt"),
        listens=(Listen("127.0.0.1", port),),
        inputs=(kubeconfig, pki / "scheduler.crt"),
    )


@contextmanager
def api_client(settings: LabSettings) -> Iterator[httpx.Client]:
    context = client_context(settings.pki / "ca.crt", settings.pki / "admin.crt")
    with httpx.Client(base_url=settings.apiserver_url, verify=context, trust_env=False, timeout=30) as connection:
        yield connection


def objects(settings: LabSettings) -> list[dict[str, Any]]:
    """RBAC for CoreDNS and for API server calls to the kubelet, and the cluster's DNS Service with its endpoints."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "slipway-lab:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }
    return [
        role,
        _binding("slipway-lab:coredns", "slipway-lab:coredns", "system:coredns"),
        _binding("slipway-lab:kubelet-api", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        *_dns_service(settings),
    ]


def _binding(name: str, role: str, user: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _dns_service(settings: LabSettings) -> list[dict[str, Any]]:
    """The Service of CoreDNS, without a selector: its endpoint is a process of the host, in an EndpointSlice."""
    port = settings.ports.dns
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": settings.network.dns_service,
            "ports": [
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": port},
                {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": port},
            ],
        },
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {
                "kubernetes.io/service-name": "kube-dns",
                "endpointslice.kubernetes.io/managed-by": _FIELD_MANAGER,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [settings.network.node_address], "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": port},
            {"name": "dns-tcp", "protocol": "TCP", "port": port},
        ],
    }
    return [service, endpoints]


def apply_objects(settings: LabSettings) -> None:
    with api_client(settings) as connection:
        for document in objects(settings):
            kind, name = document["kind"], document["metadata"]["name"]
            answer = connection.patch(
                f"{_OBJECT_PATHS[kind]}/{name}",
                params={"fieldManager": _FIELD_MANAGER, "force": "true"},
                content=json.dumps(document),
                headers={"Content-Type": "application/apply-patch+yaml"},
            )
            if not answer.is_success:
                raise SlipwayError(
                    f"the API server refused {kind} {name}: {answer.status_code}",
                    why=answer.text.strip()[-500:],
                )


def node_condition(settings: LabSettings) -> tuple[bool, str]:
    """Whether the node is Ready, and its message about that."""
    with api_client(settings) as connection:
        answer = connection.get(f"/api/v1/nodes/{NODE_NAME}")
    if answer.status_code != 200:
        return False, f"the node has not registered itself yet ({answer.status_code})"
    for condition in answer.json()["status"].get("conditions", []):
        if condition["type"] == "Ready":
            return condition["status"] == "True", condition.get("message", "")
    return False, "the node has not reported its state yet"


def wait_node_ready(settings: LabSettings, timeout_seconds: float = 120) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        ready, message = node_condition(settings)
        if ready:
            return
        if time.monotonic() > deadline:
            raise SlipwayError(
                f"the node {NODE_NAME} is not Ready after {timeout_seconds:.0f} s",
                why=message,
                next_step=f"see the kubelet's log: {settings.logs / 'kubelet.log'}",
            )
        time.sleep(0.2)
