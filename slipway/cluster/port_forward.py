"""HTTP to a port of a pod through the API server and the kubelet, the way `kubectl port-forward` goes.

The kubelet connects inside the pod's own network, so no NetworkPolicy and no missing route from the API server to the
pods stands in its way.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from slipway.cluster.client import ClusterError, ForbiddenError, NotFoundError, status_message, unreachable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from websocket import WebSocket

# Imports of the client wait until they are needed: a fifth of a second that most commands can do without.
# ruff: noqa: PLC0415

# Frames whose first byte is the channel: channel 0 carries the data of the first port, channel 1 why the kubelet cannot
# forward it. https://github.com/kubernetes/kubernetes/blob/v1.34.4/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go
SUBPROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
# The first frame of each channel is the number of the port.
PORT_BYTES = 2
BODY_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class PortForwards:
    """HTTP to the ports of pods, a connection a request, for as many threads as ask."""

    client: ApiClient

    def request(
        self,
        namespace: str,
        pod: str,
        port: int,
        *,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
    ) -> tuple[int, bytes]:
        """The status and body of the pod's first answer, redirects not followed; of a long body its first 4 MiB.

        Raises ForbiddenError where a port may not be forwarded, NotFoundError where the pod is gone, ClusterError for
        anything else between here and the kubelet, and OSError (TimeoutError among them) where the pod itself does not
        answer, or not in HTTP.
        """
        from websocket import WebSocketException

        deadline = monotonic() + timeout_seconds
        with closing(_Stream(self._open(namespace, pod, port, deadline), deadline)) as stream:
            connection = HTTPConnection("localhost")
            connection.sock = _Socket(stream)
            try:
                connection.request(method, path, body=body, headers=dict(headers))
                response = connection.getresponse()
                answered = response.read(BODY_LIMIT_BYTES)
                if response.length and len(answered) < BODY_LIMIT_BYTES:
                    raise IncompleteRead(answered, response.length)
                return response.status, answered
            except HTTPException as error:
                raise ConnectionError(f"what it sent is no HTTP/1.1: {type(error).__name__} {error}") from error
            except WebSocketException as error:
                raise ConnectionError(f"the connection to it broke: {error}") from error

    def _open(self, namespace: str, pod: str, port: int, deadline: float) -> WebSocket:
        """A websocket to the kubelet, over a socket that is connected as the Kubernetes client connects."""
        import websocket
        from urllib3.exceptions import HTTPError

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        # With the authorization of this moment: tokens end, and the client knows how to get others.
        _, url, headers, *_ = self.client.param_serialize(
            method="GET", resource_path=path, query_params=[("ports", port)], auth_settings=["BearerToken"]
        )
        parts = urlsplit(url)
        made = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
        made.settimeout(max(deadline - monotonic(), 0.001))
        try:
            made.connect(  # type: ignore[no-untyped-call]
                urlunsplit(parts._replace(scheme="wss" if parts.scheme == "https" else "ws")),
                socket=self._connected(deadline),
                header=[f"{name}: {value}" for name, value in headers.items() if name.lower() == "authorization"],
                subprotocols=[SUBPROTOCOL],
                suppress_origin=True,
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            raise _refusal(error, path) from error
        except (websocket.WebSocketException, HTTPError, OSError) as error:
            raise unreachable(self.client, error) from error
        return made

    def _connected(self, deadline: float) -> Any:
        """A socket to the API server, connected as `urllib3` connects for the client's own requests: TLS, certificates,
        proxy. A proxy is always asked for a tunnel, since no websocket goes through it otherwise.
        """
        from urllib3.util import parse_url

        server = parse_url(self.client.configuration.host)
        pool = self.client.rest_client.pool_manager.connection_from_url(server.url)
        connection: Any = pool._new_conn()
        connection.timeout = max(deadline - monotonic(), 0.001)
        if pool.proxy:
            scheme = "https" if pool.proxy.scheme == "https" else "http"
            port = server.port or (443 if server.scheme == "https" else 80)
            connection.set_tunnel(str(server.host), port, headers=pool.proxy_headers, scheme=scheme)
        connection.connect()
        return connection.sock


def _refusal(error: Any, path: str) -> ClusterError:
    """The API server's own words; it answers 403 without the right to `pods/portforward`."""
    text = f"GET {path} was answered {error.status_code}: {status_message(error.resp_body or b'')}"
    kinds = {403: ForbiddenError, 404: NotFoundError}
    return kinds.get(error.status_code, ClusterError)(text)


class _Stream(io.RawIOBase):
    """What the pod's port sends, until the deadline."""

    def __init__(self, websocket: WebSocket, deadline: float) -> None:
        self.websocket = websocket
        self._deadline = deadline
        self._begun: set[int] = set()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._received()
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self.websocket.shutdown()  # type: ignore[no-untyped-call]
        super().close()

    @contextmanager
    def limit(self) -> Iterator[None]:
        """Lets what is done with the websocket take as long as is left; TimeoutError where that is not enough."""
        from websocket import WebSocketTimeoutException

        self.websocket.settimeout(max(self._deadline - monotonic(), 0.001))
        try:
            yield
        except WebSocketTimeoutException as error:
            raise TimeoutError("no answer in time") from error

    def _received(self) -> bytes:
        """The next data of the port; empty at the end."""
        from websocket import ABNF, WebSocketConnectionClosedException

        while True:
            try:
                with self.limit():
                    kind, frame = self.websocket.recv_data(control_frame=True)
            except WebSocketConnectionClosedException:
                return b""
            if kind == ABNF.OPCODE_CLOSE:
                return b""
            if kind != ABNF.OPCODE_BINARY or not frame:
                continue
            channel, data = frame[0], frame[1:]
            if channel not in self._begun:
                self._begun.add(channel)
                data = data[PORT_BYTES:]
            if data and channel == ERROR:
                raise ConnectionError(" ".join(data.decode(errors="replace").split()))
            if data:
                return bytes(data)


@dataclass(frozen=True)
class _Socket:
    """A stream as far as `http.client` knows sockets, which closes its own before the answer is read."""

    stream: _Stream

    def sendall(self, data: bytes) -> None:
        with self.stream.limit():
            self.stream.websocket.send_binary(bytes([DATA]) + data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.stream)

    def close(self) -> None:
        """The stream is closed by whoever opened it."""
