"""The API server, the controller manager and the scheduler."""

from __future__ import annotations

from . import etcd
from .kubeconfig import component_kubeconfig
from .pki import ETCD_AUTHORITY
from .ports import Listen
from .probes import http_probe
from .processes import Daemon
from .settings import CLUSTER_DOMAIN, LabSettings
from .shell import program


def apiserver(settings: LabSettings) -> Daemon:
    pki, network, ports = settings.pki, settings.network, settings.ports
    files = {
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
    return Daemon(
        name="kube-apiserver",
        command=(
            program("kube"),
            "kube-apiserver",
            f"--etcd-servers={etcd.client_url(settings)}",
            # Loopback and node address: the lab's firewall keeps everybody else out.
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
            *(f"{flag}={path}" for flag, path in files.items()),
        ),
        probe=http_probe(f"{settings.apiserver_url}/readyz", pki / "ca.crt", pki / "admin.crt"),
        listens=(Listen("0.0.0.0", ports.apiserver),),  # noqa: S104 - see above
        inputs=tuple(files.values()),
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
