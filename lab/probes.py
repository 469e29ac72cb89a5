"""Health checks of daemons; each function returns a probe for `Daemon`."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from slipway.errors import SlipwayError

from .processes import NotReadyError
from .shell import attempt

_TIMEOUT_SECONDS = 5.0


def client_context(authority: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """TLS that trusts one authority and presents the client certificate in `NAME.crt`, with the key in `NAME.key`."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def http_probe(url: str, authority: Path | None = None, certificate: Path | None = None) -> Callable[[], None]:
    """Healthy if `url` answers 200. The host's proxies are not used: every probed address is local."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0

    def probe() -> None:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            if authority:
                context = client_context(authority, certificate)
                connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)
            connection.request("GET", parts.path)
            response = connection.getresponse()
            body = response.read().decode(errors="replace").strip()
        except (http.client.HTTPException, OSError) as error:
            raise NotReadyError(f"{url}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise NotReadyError(f"{url} answered {response.status}: {body[-200:]}")

    return probe


def runtime_probe(socket: Path) -> Callable[[], None]:
    """Healthy if the container runtime at `socket` answers the kubelet's first request.

    The socket exists before that, and a kubelet that gets "not initialized yet" exits.
    """

    def probe() -> None:
        with grpc.insecure_channel(f"unix://{socket}") as channel:
            try:
                ask = channel.unary_unary("/runtime.v1.RuntimeService/Version", _as_it_is, _as_it_is)
                ask(b"", timeout=_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                raise NotReadyError(f"{socket}: {error.details()}") from error

    return probe


def _as_it_is(message: bytes) -> bytes:
    """Return the bytes as they are: the request is empty, and the answer is not read."""
    return message


def command_probe(command: Sequence[str], user: str | None = None) -> Callable[[], None]:
    """Healthy if the command succeeds."""

    def probe() -> None:
        try:
            result = attempt(command, timeout_seconds=_TIMEOUT_SECONDS, user=user)
        except SlipwayError as error:
            raise NotReadyError(error.what) from error
        if result.returncode != 0:
            raise NotReadyError((result.stderr.strip() or result.stdout.strip() or "no answer").splitlines()[-1][:200])

    return probe
