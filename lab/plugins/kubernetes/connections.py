"""Connections to one API server: TLS as the kubeconfig says, proxies as the environment says, kept alive."""

from __future__ import annotations

import ssl
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from lab.plugins.kubernetes.credentials import Credential
from lab.plugins.kubernetes.kubeconfig import Connection, KubeconfigError

# As many as keep an API server busy; more would only cost TLS handshakes.
_CONNECTIONS = 24


@dataclass(frozen=True)
class Pools:
    """Kept-alive connections: a bounded number for requests, and one for each watch, which never gives it back."""

    requests: urllib3.HTTPConnectionPool
    watches: urllib3.HTTPConnectionPool
    client_certificate: bytes

    @classmethod
    def open(cls, connection: Connection, credential: Credential) -> Pools:
        options = _tls_options(connection, credential)
        server = connection.cluster.server
        proxy = connection.cluster.proxy_url or _environment_proxy(server)

        def pool(size: int, *, bounded: bool) -> urllib3.HTTPConnectionPool:
            if proxy:
                manager: urllib3.PoolManager = urllib3.ProxyManager(proxy, maxsize=size, block=bounded, **options)
            else:
                manager = urllib3.PoolManager(maxsize=size, block=bounded, **options)
            return manager.connection_from_url(server)

        return cls(pool(_CONNECTIONS, bounded=True), pool(1, bounded=False), credential.client_certificate)


def _tls_options(connection: Connection, credential: Credential) -> dict[str, Any]:
    cluster = connection.cluster
    if not cluster.server.startswith("https://"):
        return {}
    try:
        options: dict[str, Any] = {"ssl_context": _tls(connection, credential)}
    except (ssl.SSLError, ValueError) as error:
        raise KubeconfigError(f"the certificates of the kubeconfig cannot be used: {error}") from error
    if cluster.tls_server_name:
        options |= {"server_hostname": cluster.tls_server_name, "assert_hostname": cluster.tls_server_name}
    if cluster.insecure_skip_tls_verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
    return options


def _environment_proxy(server: str) -> str:
    parts = urlsplit(server)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def _tls(connection: Connection, credential: Credential) -> ssl.SSLContext:
    cluster = connection.cluster
    authority = cluster.certificate_authority.decode() or None
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # many clusters' own authorities lack the newer extensions
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credential.client_certificate:
        _load_client_certificate(context, credential)
    return context


def _load_client_certificate(context: ssl.SSLContext, credential: Credential) -> None:
    """OpenSSL reads a key from files only, so they exist for the moment it takes."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "crt"), Path(folder, "key")
        certificate.write_bytes(credential.client_certificate)
        key.touch(mode=0o600)
        key.write_bytes(credential.client_key)
        context.load_cert_chain(certificate, key)
