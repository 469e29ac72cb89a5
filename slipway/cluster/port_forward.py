"""HTTP to a port of a pod through the API server and the kubelet, as `kubectl port-forward` does it.

The kubelet connects inside the pod's own network, so a NetworkPolicy or a missing route from the API server to the pods
does not block it. A container's present answer to its probe is requested in this way too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, IncompleteRead
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from slipway.cluster.client import Cluster, ClusterError, ForbiddenError, NotFoundError, status_message, unreachable
from slipway.cluster.diagnosis.model import (
    Cause,
    Evidence,
    Finding,
    Object,
    container_spec,
    event_time,
    name_of,
    object_at,
    objects_at,
    text_at,
    uid_of,
)

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from websocket import WebSocket

# The client is imported only when needed: it takes a fifth of a second, and most commands do not use it.
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
    """HTTP to the ports of pods, with one connection per request, for any number of threads."""

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
        """The status and body of the pod's first answer, without following redirects; of a long body the first 4 MiB.

        Raises ForbiddenError if a port may not be forwarded, NotFoundError if the pod is gone, and ClusterError for any
        other error between here and the kubelet. Raises OSError (including TimeoutError) if the pod itself does not
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
                raise ConnectionError(f"its response is not HTTP/1.1: {type(error).__name__} {error}") from error
            except WebSocketException as error:
                raise ConnectionError(f"the connection to it broke: {error}") from error

    def _open(self, namespace: str, pod: str, port: int, deadline: float) -> WebSocket:
        """A websocket to the kubelet, over a socket that is connected as the Kubernetes client connects."""
        import websocket
        from urllib3.exceptions import HTTPError

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        # With the present authorization: tokens expire, and the client can get new ones.
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
            # The API server answers 403 without the right to `pods/portforward`.
            kind = {403: ForbiddenError, 404: NotFoundError}.get(error.status_code, ClusterError)
            message = status_message(error.resp_body or b"")
            raise kind(f"GET {path} failed with {error.status_code}: {message}") from error
        except (websocket.WebSocketException, HTTPError, OSError) as error:
            raise unreachable(self.client, error) from error
        return made

    def _connected(self, deadline: float) -> Any:
        """A socket to the API server, connected as `urllib3` connects for the client's own requests: TLS, certificates,
        proxy. A proxy is always asked for a tunnel, because a websocket needs one.
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


class _Stream(io.RawIOBase):
    """The data that the pod's port sends, until the deadline."""

    def __init__(self, websocket: WebSocket, deadline: float) -> None:
        self.websocket = websocket
        self._deadline = deadline
        self._begun: set[int] = set()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for the next data of the port, unless some is left; 0 at the end."""
        from websocket import ABNF, WebSocketConnectionClosedException

        while not self._rest:
            try:
                with self.limit():
                    kind, frame = self.websocket.recv_data(control_frame=True)
            except WebSocketConnectionClosedException:
                return 0
            if kind == ABNF.OPCODE_CLOSE:
                return 0
            if kind != ABNF.OPCODE_BINARY or not frame:
                continue
            channel, data = frame[0], frame[1:]
            if channel not in self._begun:
                self._begun.add(channel)
                data = data[PORT_BYTES:]
            if data and channel == ERROR:
                raise ConnectionError(" ".join(data.decode(errors="replace").split()))
            self._rest = bytes(data)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self.websocket.shutdown()  # type: ignore[no-untyped-call]
        super().close()

    @contextmanager
    def limit(self) -> Iterator[None]:
        """Limits an operation of the websocket to the time that is left; TimeoutError if that is not enough."""
        from websocket import WebSocketTimeoutException

        self.websocket.settimeout(max(self._deadline - monotonic(), 0.001))
        try:
            yield
        except WebSocketTimeoutException as error:
            raise TimeoutError("no answer in time") from error


@dataclass(frozen=True)
class _Socket:
    """A stream as the socket that `http.client` needs; `http.client` closes it before the answer is read."""

    stream: _Stream

    def sendall(self, data: bytes) -> None:
        with self.stream.limit():
            self.stream.websocket.send_binary(bytes([DATA]) + data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.stream)

    def close(self) -> None:
        """Do nothing: the opener of the stream closes it."""


TIMEOUT_SECONDS = 3.0
# Below it a probe succeeds. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe
FIRST_BAD_STATUS = 400
ASKED_CAUSES = (Cause.STARTUP, Cause.LIVENESS, Cause.READINESS, Cause.STARTING)


def probe_answer(cluster: Cluster, evidence: Evidence, finding: Finding) -> Object | None:
    """An event, as the kubelet would write it, about a probe of the finding's container that gets a bad answer now.

    `None` if the container does not run, its probe does not use HTTP, or it does not answer or answers well: then the
    kubelet's reports say more.
    """
    pod = next((each for each in evidence.current_pods() if name_of(each) == finding.pod), None)
    if pod is None:
        return None
    statuses = [*objects_at(pod, "status", "initContainerStatuses"), *objects_at(pod, "status", "containerStatuses")]
    status: Object = next((each for each in statuses if each.get("name") == finding.container), {})
    if "running" not in object_at(status, "state"):
        return None
    probe = finding.cause.name.capitalize()
    if finding.cause is Cause.STARTING or not status.get("started"):
        probe = "Readiness" if status.get("started") else "Startup"
    container = container_spec(pod, finding.container)
    asked = object_at(container, f"{probe.lower()}Probe", "httpGet")
    if not asked or asked.get("host") or asked.get("scheme") == "HTTPS":
        return None
    port: Any = asked.get("port")
    named = [int(each["containerPort"]) for each in objects_at(container, "ports") if each.get("name") == port]
    answered = 0
    with suppress(ClusterError, OSError):
        answered, _ = PortForwards(cluster.client).request(
            text_at(pod, "metadata", "namespace"),
            finding.pod,
            named[0] if named else int(port),
            method="GET",
            path=text_at(asked, "path") or "/",
            headers={"Host": "localhost", "User-Agent": "slipway", "Connection": "close"},
            body=None,
            timeout_seconds=TIMEOUT_SECONDS,
        )
    if answered < FIRST_BAD_STATUS:
        return None
    # Newer than the kubelet's reports, whatever this machine's clock says.
    reported = map(event_time, evidence.events_of(pod))
    return {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": f"{probe} probe failed: HTTP probe failed with statuscode: {answered}",
        "involvedObject": {"uid": uid_of(pod), "fieldPath": f"spec.containers{{{finding.container}}}"},
        "lastTimestamp": max([datetime.now(UTC), *filter(None, reported)]).isoformat(),
    }
