"""The API server, the controller manager and the scheduler."""

from __future__ import annotations

import os
from pathlib import Path

from . import etcd, mounts
from .files import make_folder, write_bytes
from .kubeconfig import component_kubeconfig
from .pki import ETCD_AUTHORITY
from .proc import Listen
from .processes import Daemon, http_probe
from .settings import CLUSTER_DOMAIN, LabSettings
from .shell import program, run

# The API server has its own user id, so that a packet filter can match its packets. Tests block it from the pods, as in
# a cluster that enforces NetworkPolicies. Debian reserves the id, so no account has it.
# https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes
APISERVER_USER_ID = 65530


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
        mounts.unmount_below([reachable])  # of another version
        run(["mount", "--bind", str(source), str(reachable)])


def apiserver(settings: LabSettings) -> Daemon:
    pki, network, ports = settings.pki, settings.network, settings.ports
    folder, files = apiserver_folder(settings), _apiserver_files(settings)
    return Daemon(
        name="kube-apiserver",
        command=(
            str(folder / "kube"),
            "kube-apiserver",
            f"--etcd-servers={etcd.client_url(settings)}",
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
