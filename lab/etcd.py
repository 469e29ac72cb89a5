"""etcd, where the API server keeps its objects: one member, on loopback, for clients with a certificate only."""

from __future__ import annotations

from pathlib import Path

from .pki import ETCD_AUTHORITY
from .proc import Listen
from .processes import Daemon, http_probe
from .settings import LabSettings
from .shell import program


def client_url(settings: LabSettings) -> str:
    return f"https://127.0.0.1:{settings.ports.etcd}"


def daemon(settings: LabSettings) -> Daemon:
    pki, peer_url = settings.pki, f"https://127.0.0.1:{settings.ports.etcd_peer}"
    authority, pair = pki / f"{ETCD_AUTHORITY}.crt", (pki / "etcd.crt", pki / "etcd.key")
    return Daemon(
        name="etcd",
        command=(
            program("etcd"),
            "--name=slipway-lab",
            f"--data-dir={settings.home / 'etcd'}",
            f"--listen-client-urls={client_url(settings)}",
            f"--advertise-client-urls={client_url(settings)}",
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
        probe=http_probe(f"{client_url(settings)}/health", authority, _client_certificate(settings)),
        listens=(Listen("127.0.0.1", settings.ports.etcd), Listen("127.0.0.1", settings.ports.etcd_peer)),
        inputs=(authority, *pair),
    )


def _client_certificate(settings: LabSettings) -> Path:
    return settings.pki / "etcd-client.crt"
