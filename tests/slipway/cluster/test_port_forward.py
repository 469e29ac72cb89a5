"""HTTP through a port-forward: with TLS, a client certificate and a token, and with what can go wrong on the way."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster.client import Cluster, ClusterError, ForbiddenError, NotFoundError, client
from slipway.cluster.port_forward import BODY_LIMIT_BYTES, PortForwards
from tests.slipway.cluster.api_server import ApiServer, api_server

FORBIDDEN = '{"kind": "Status", "message": "pods \\"web-1\\" is forbidden: cannot get resource pods/portforward"}'


class Handler(BaseHTTPRequestHandler):
    """What a pod serves."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/until-the-end":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"all of it")
            return
        body = b"x" * int(self.path.removeprefix("/bytes/")) if self.path.startswith("/bytes/") else b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        received = self.rfile.read(int(self.headers["Content-Length"]))
        body = f"{self.headers['Host']} {self.headers['X-For']} ".encode() + received
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def pod() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authorities")


def ask(server: ApiServer, port: int, path: str = "/", timeout_seconds: float = 10, **more: Any) -> tuple[int, bytes]:
    request: dict[str, Any] = {"method": "GET", "headers": {"Host": "web"}, "body": None, **more}
    forwards = PortForwards(server.client("a-token"))
    return forwards.request("shop", "web-1", port, path=path, timeout_seconds=timeout_seconds, **request)


@pytest.mark.parametrize("tls", [True, False])
def test_every_method_is_answered_by_the_pod(authorities: Path, pod: int, tls: bool) -> None:
    with api_server(authorities, tls=tls) as server:
        assert ask(server, pod) == (200, b"hello")
        assert ask(server, pod, method="HEAD") == (200, b"")
        response = ask(server, pod, method="POST", headers={"Host": "web", "X-For": "a check"}, body=b'{"a": 1}')
        assert response == (201, b'web a check {"a": 1}')
        assert ask(server, pod, "/moved") == (302, b""), "no redirect is followed"
        assert ask(server, pod, "/until-the-end") == (200, b"all of it")
    (first, *_) = server.requests
    assert first.startswith(f"GET /api/v1/namespaces/shop/pods/web-1/portforward?ports={pod} HTTP/1.1\r\n")
    assert "authorization: bearer a-token\r\n" in first.lower()


def test_a_long_body_comes_whole_up_to_its_limit(authorities: Path, pod: int) -> None:
    with api_server(authorities) as server:
        assert ask(server, pod, "/bytes/1000000") == (200, b"x" * 1_000_000)
        assert len(ask(server, pod, f"/bytes/{BODY_LIMIT_BYTES + 9}")[1]) == BODY_LIMIT_BYTES


def test_a_port_that_nothing_listens_on_is_the_pods_fault(authorities: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with api_server(authorities) as server, pytest.raises(ConnectionError, match="connection refused"):
        ask(server, port)


@contextmanager
def speaking(words: bytes, seconds: float = 0) -> Iterator[int]:
    """A pod that says `words` to everybody, and hangs up after some seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(words)
                time.sleep(seconds)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_pod_that_does_not_come_to_an_end_is_given_up_in_time(authorities: Path, words: bytes) -> None:
    began = time.monotonic()
    with api_server(authorities) as server, speaking(words, 20) as port, pytest.raises(TimeoutError):
        ask(server, port, timeout_seconds=0.5)
    assert 0.4 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"", "closed connection without response"),
        (b"SSH-2.0-OpenSSH_9\r\n", "is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "IncompleteRead"),
    ],
)
def test_what_is_no_answer_is_reported(authorities: Path, words: bytes, reason: str) -> None:
    with api_server(authorities) as server, speaking(words) as port, pytest.raises(ConnectionError, match=reason):
        ask(server, port)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, FORBIDDEN, ForbiddenError("cannot get resource pods/portforward")),
        (404, '{"message": "pods \\"web-1\\" not found"}', NotFoundError("not found")),
        (502, "<html>Bad gateway</html>", ClusterError("failed with 502: <html>Bad gateway</html>")),
        (302, "", ClusterError("does not answer")),
    ],
)
def test_a_refusal_is_in_the_words_of_the_api_server(
    authorities: Path, pod: int, status: int, body: str, expected: Exception
) -> None:
    refusing, raises = api_server(authorities, status=status, body=body), pytest.raises(Exception, match=str(expected))
    with refusing as server, raises as raised:
        ask(server, pod)
    assert type(raised.value) is type(expected)
    assert len(server.requests) == 1, "a token goes to no other host"


@pytest.mark.parametrize(
    "request_of",
    [
        ask,
        lambda server, _: Cluster(server.client()).is_allowed("shop", "get", "pods"),
    ],
    ids=["port-forward", "request"],
)
def test_nobody_but_the_api_server_is_believed(
    authorities: Path, tmp_path: Path, pod: int, request_of: Callable[[ApiServer, int], object]
) -> None:
    with api_server(tmp_path) as impostor:
        impostor.folder = authorities
        with pytest.raises(ClusterError, match=r"^the cluster at .* does not answer: \[SSL: CERTIFICATE_VERIFY_FAILED"):
            request_of(impostor, pod)
    assert impostor.requests == []


def test_nothing_changes_the_tls_context_that_threads_share(
    authorities: Path, pod: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL sends a torn greeting if one thread changes it while another connects; that is too rare to wait for."""
    offers: list[list[str]] = []
    offer = ssl.SSLContext.set_alpn_protocols

    def counted(context: ssl.SSLContext, names: list[str]) -> None:
        offers.append(names)
        offer(context, names)

    monkeypatch.setattr(ssl.SSLContext, "set_alpn_protocols", counted)
    with api_server(authorities) as server:
        assert offers == []
        forwards = PortForwards(server.client())
        for _ in range(2):
            answered = forwards.request(
                "shop", "web-1", pod, method="GET", path="/", headers={}, body=None, timeout_seconds=30
            )
            assert answered == (200, b"hello")
    assert offers == [["http/1.1"]]


def test_no_file_keeps_the_credentials_of_a_kubeconfig(
    authorities: Path, tmp_path: Path, pod: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed leaves its temporary files, and these would hold the private key."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with api_server(authorities) as server, ThreadPoolExecutor(8) as threads:
        kubeconfig = server.kubeconfig()
        clients = list(threads.map(lambda _: client(None, kubeconfig), range(40)))
        assert list(tmp_path.iterdir()) == []
        for each in (clients[0], clients[-1]):
            answered = PortForwards(each).request(
                "shop", "web-1", pod, method="GET", path="/", headers={"Host": "web"}, body=None, timeout_seconds=30
            )
            assert answered == (200, b"hello")


def test_many_are_checked_at_once(authorities: Path, pod: int) -> None:
    answers: list[tuple[int, bytes]] = []
    with api_server(authorities) as server:
        forwards = PortForwards(server.client())
        work: Callable[[], None] = lambda: answers.append(  # noqa: E731
            forwards.request(
                "shop", "web-1", pod, method="GET", path="/bytes/9", headers={}, body=None, timeout_seconds=30
            )
        )
        threads = [threading.Thread(target=work) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [(200, b"x" * 9)] * 40
