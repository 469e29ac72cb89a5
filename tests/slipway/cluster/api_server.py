"""An API server and kubelet as far as a port-forward knows them: a websocket whose frames go to a port of this machine.

Made after what the kubelet of Kubernetes 1.34 sends; tests/e2e/test_network.py asks the real one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient
from websocket import ABNF
from websocket._abnf import frame_buffer
from websocket._socket import recv

from lab.pki import CertificateSpec, ensure_pki
from slipway.cluster.client import client

CREDENTIALS = ("ca.crt", "client.crt", "client.key")
REFUSED = "error forwarding port: dial tcp4 127.0.0.1:{port}: connect: connection refused"


@dataclass
class ApiServer:
    """`status` other than 101 refuses with `body`; requests are kept, as far as their headers go."""

    folder: Path
    tls: bool = True
    status: int = 101
    body: str = ""
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def client(self, token: str = "") -> ApiClient:
        return client(None, self.kubeconfig(token))

    def kubeconfig(self, token: str = "") -> str:
        """The path of one that contains the certificates and the key, as those of most clusters do."""
        data = {name: base64.b64encode((self.folder / name).read_bytes()).decode() for name in CREDENTIALS}
        server = {"server": f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"}
        user = {"client-certificate-data": data["client.crt"], "client-key-data": data["client.key"]}
        written = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "api",
            "clusters": [{"name": "api", "cluster": server | {"certificate-authority-data": data["ca.crt"]}}],
            "users": [{"name": "api", "user": user | ({"token": token} if token else {})}],
            "contexts": [{"name": "api", "context": {"cluster": "api", "user": "api"}}],
        }
        file = self.folder / "kubeconfig"
        file.write_text(json.dumps(written))
        return str(file)

    def serve(self, connection: Any) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        self.requests.append(head.decode())
        if self.status != 101:
            text = self.body.encode()
            lines = f"HTTP/1.1 {self.status} No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {len(text)}\r\n\r\n"
            connection.sendall(lines.encode() + text)
            return
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:] if ": " in line)
        key = headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324 -- RFC 6455 has it so
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: " + accepted.encode() + b"\r\n\r\n"
        )
        port = int(head.split(b"ports=")[1].split()[0])
        for channel in (0, 1):
            _send(connection, bytes([channel]) + port.to_bytes(2, "little"))
        try:
            pod = socket.create_connection(("127.0.0.1", port))
        except OSError:
            _send(connection, b"\x01" + REFUSED.format(port=port).encode())
            _send(connection, b"", ABNF.OPCODE_CLOSE)
            return
        threading.Thread(target=_copy, args=(pod, connection), daemon=True).start()
        frames = frame_buffer(lambda size: recv(connection, size), True)
        with suppress(Exception):  # the client is gone
            while (frame := frames.recv_frame()).opcode == ABNF.OPCODE_BINARY:
                data: Any = frame.data
                pod.sendall(data[1:])
        pod.close()


def _copy(pod: socket.socket, connection: Any) -> None:
    with suppress(OSError):
        while data := pod.recv(4096):
            _send(connection, b"\x00" + data)
    with suppress(OSError):
        _send(connection, b"", ABNF.OPCODE_CLOSE)


def _send(connection: Any, payload: bytes, kind: int = ABNF.OPCODE_BINARY) -> None:
    frame = ABNF(1, 0, 0, 0, kind, 0, payload)  # a server masks nothing
    written: Any = frame.format()
    connection.sendall(written)


@contextmanager
def api_server(folder: Path, **more: Any) -> Iterator[ApiServer]:
    specs = [CertificateSpec("server", "api", addresses=("127.0.0.1",)), CertificateSpec("client", "releaser")]
    ensure_pki(folder, specs)
    made = ApiServer(folder, **more)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    made.port = listener.getsockname()[1]

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection: Any = listener.accept()[0]
                if made.tls:
                    connection = context.wrap_socket(connection, server_side=True)
                threading.Thread(target=_served, args=(made, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield made
    finally:
        listener.close()


def _served(server: ApiServer, connection: Any) -> None:
    with connection:
        server.serve(connection)
