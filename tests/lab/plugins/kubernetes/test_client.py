"""The HTTP client against a server that misbehaves on demand: retries, refusals, warnings, broken watches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lab.plugins.kubernetes.awaiting.readiness import DONE, Readiness, Sight, waiting
from lab.plugins.kubernetes.awaiting.registry import Rule
from lab.plugins.kubernetes.awaiting.runner import NotReadyError, Wait
from lab.plugins.kubernetes.client import ApiError, CancelledError, Client, ClientSettings, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.discovery import Discovery, Endpoint, UnknownKindError
from lab.plugins.kubernetes.kubeconfig import Cluster, Connection, User
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.watch import Wake, Watches

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
CONFIG_MAPS = Endpoint(CONFIG_MAP, "configmaps", namespaced=True)


@dataclass
class Reply:
    """One answer of the server; `lines` are sent one by one, as a watch's events are."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    lines: list[Any] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """Answers with what `replies` says next, and notes every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = []
        self.closed = threading.Event()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        if not self.server.replies and "watch=1" in self.path:
            self.server.closed.wait(10)  # a quiet watch
        reply = self.server.replies.pop(0) if self.server.replies else Reply(404, {"message": "nothing more"})
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.lines:
            self._send_lines(reply.lines)
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_lines(self, lines: list[Any]) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 -- named by http.server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests are noted."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.closed.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()


@pytest.fixture
def client(server: Server, cancelled: threading.Event) -> Iterator[Client]:
    connection = Connection(Cluster(server.url + "/proxied"), User(token="t"))
    yield Client(connection, ClientSettings(qps=0), cancelled)
    cancelled.set()


def test_a_request_says_who_asks_and_keeps_the_servers_path(server: Server, client: Client) -> None:
    server.replies = [Reply(201, {"kind": "ConfigMap"})]
    answer = client.send("POST", "/api/v1/x", query={"fieldManager": "a b"}, body={"a": 1})
    assert (answer.status, answer.body) == (201, {"kind": "ConfigMap"})
    method, path, headers, body = server.requests[0]
    assert (method, path, json.loads(body)) == ("POST", "/proxied/api/v1/x?fieldManager=a+b", {"a": 1})
    assert headers["Authorization"] == "Bearer t"
    assert headers["Content-Type"] == "application/json"


def test_warnings_are_unquoted(server: Server, client: Client) -> None:
    server.replies = [Reply(headers={"Warning": '299 - "unknown field \\"spec.x\\""'})]
    assert client.send("GET", "/x").warnings == ('unknown field "spec.x"',)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(server: Server, client: Client, status: int) -> None:
    server.replies = [Reply(status), Reply(200, {"ok": True})]
    assert client.get("/x") == {"ok": True}


def test_a_post_is_not_repeated_when_it_may_have_been_done(server: Server, client: Client) -> None:
    server.replies = [Reply(503, {"message": "etcd timed out"}), Reply(201)]
    with pytest.raises(ApiError, match="etcd timed out"):
        client.send("POST", "/x", body={})
    assert len(server.requests) == 1


def test_the_server_says_how_long_to_wait(server: Server, client: Client) -> None:
    server.replies = [Reply(429, headers={"Retry-After": "1"}), Reply()]
    started = time.monotonic()
    client.get("/x")
    assert time.monotonic() - started >= 1


def test_a_refusal_is_told_in_the_servers_words(server: Server, client: Client) -> None:
    causes = [{"field": "spec.x", "message": "Invalid value"}]
    server.replies = [Reply(422, {"message": "it is invalid", "reason": "Invalid", "details": {"causes": causes}})]
    with pytest.raises(ApiError, match="it is invalid") as refusal:
        client.get("/x")
    assert (refusal.value.status, refusal.value.reason, refusal.value.causes) == (422, "Invalid", causes)


def test_an_answer_that_is_no_json_is_told_by_its_first_line(server: Server, client: Client) -> None:
    server.replies = [Reply(400, b"<h1>Bad gateway</h1>\nmore")]
    with pytest.raises(ApiError, match=r"<h1>Bad gateway</h1>$"):
        client.get("/x")


def test_a_server_that_is_not_there_is_named(cancelled: threading.Event) -> None:
    client = Client(Connection(Cluster("http://127.0.0.1:1"), User()), ClientSettings(qps=0), cancelled)
    with pytest.raises(UnreachableError, match=r"^http://127.0.0.1:1: Failed to establish .* Connection refused$"):
        client.send("GET", "/x", pauses=())


def test_cancelling_ends_the_retries(server: Server, client: Client, cancelled: threading.Event) -> None:
    server.replies = [Reply(429, headers={"Retry-After": "30"})]
    threading.Timer(0.2, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        client.get("/x")
    assert time.monotonic() - started < 5


def test_discovery_asks_once_for_each_version_and_again_for_a_new_kind(server: Server, client: Client) -> None:
    def resources(*kinds: str) -> Reply:
        found = [{"kind": kind, "name": kind.lower() + "s", "namespaced": True} for kind in kinds]
        return Reply(200, {"resources": [*found, {"kind": "Scale", "name": "boats/scale", "namespaced": True}]})

    discovery = Discovery(client)
    boat, ship = (GroupVersionKind("slipway.test", "v1", kind) for kind in ("Boat", "Ship"))
    server.replies = [resources("Boat"), resources("Boat"), resources("Boat", "Ship")]
    assert discovery.endpoint(boat).path("apps", "b") == "/apis/slipway.test/v1/namespaces/apps/boats/b"
    assert discovery.endpoint(boat).namespaced
    with pytest.raises(UnknownKindError, match=r"no matches for kind 'Ship' in version 'slipway.test/v1'"):
        discovery.endpoint(ship)
    assert discovery.endpoint(ship).collection() == "/apis/slipway.test/v1/ships"
    assert len(server.requests) == 3


def item(name: str, version: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"namespace": "apps", "name": name, "resourceVersion": version}}


def listed(version: str, *items: dict[str, Any]) -> Reply:
    return Reply(200, {"kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": list(items)})


def event(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": found}


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_watch_follows_events_and_goes_on_where_it_ended(server: Server, client: Client) -> None:
    server.replies = [
        listed("5", item("a", "4")),
        Reply(lines=[event("ADDED", item("b", "6")), event("DELETED", item("a", "7"))]),
        Reply(lines=[event("BOOKMARK", item("", "9")), event("MODIFIED", item("b", "10"))]),
        Reply(410, {"message": "too old"}),
        listed("20", item("c", "19")),
    ]
    watch, wake = Watches(client).on(CONFIG_MAPS, "apps"), Wake()
    watch.listen(wake, lambda found: found["metadata"]["name"] == "a")

    assert eventually(lambda: watch.get("apps", "c") is not None)
    assert watch.get("apps", "b") is None, "it was gone when the watch had to start over"
    assert watch.deleted("apps", "a") == item("a", "7")
    assert wake.wait(1), "what concerned the listener rang its bell"
    versions = [path.partition("resourceVersion=")[2].partition("&")[0] for _, path, _, _ in server.requests]
    assert versions[:5] == ["", "5", "7", "10", ""]


def test_a_watch_that_is_forbidden_says_so_and_lets_nobody_wait(server: Server, client: Client) -> None:
    server.replies = [Reply(403, {"message": "forbidden: cannot list configmaps"})]
    watch = Watches(client).on(CONFIG_MAPS, "apps")
    started = time.monotonic()
    watch.listen(Wake(), lambda _found: True)
    assert time.monotonic() - started < 5
    assert eventually(lambda: "forbidden" in watch.problem)


def test_a_watch_that_gets_nonsense_starts_over(server: Server, client: Client) -> None:
    server.replies = [listed("5"), Reply(200, b"<h1>Bad gateway</h1>\n"), Reply(lines=[event("ADDED", item("b", "6"))])]
    watch = Watches(client).on(CONFIG_MAPS, "apps")
    assert eventually(lambda: watch.get("apps", "b") is not None)


def waiting_for_b(client: Client, **more: Any) -> Wait:
    def judge(sight: Sight) -> Readiness:
        return (
            DONE if sight.live["metadata"]["resourceVersion"] == "9" else waiting("Waiting for it", "it is not there")
        )

    reached = Reached(client, Discovery(client), Watches(client))
    return Wait(reached, CONFIG_MAPS, item("b", "5"), Rule(judge), cancelled=client.cancelled, **more)


def test_a_wait_ends_with_the_event_it_waits_for(server: Server, client: Client) -> None:
    told: list[str] = []
    server.replies = [listed("5", item("b", "5")), Reply(lines=[event("MODIFIED", item("b", "9"))])]
    live = waiting_for_b(client, report=told.append).run(10)
    assert live["metadata"]["resourceVersion"] == "9"
    assert set(told) <= {"Waiting for it"}


def test_a_wait_without_the_right_to_watch_asks_for_the_object(server: Server, client: Client) -> None:
    server.replies = [Reply(403, {"message": "cannot list"}), Reply(200, item("b", "9"))]
    assert waiting_for_b(client).run(10)["metadata"]["resourceVersion"] == "9"


def test_a_server_that_goes_away_leaves_an_object_that_is_recorded(server: Server, client: Client) -> None:
    server.replies = [listed("5", item("b", "5"))]
    wait = waiting_for_b(client)
    threading.Timer(0.3, server.shutdown).start()
    with pytest.raises(NotReadyError, match="'apps/b' timed out waiting to be Ready") as failure:
        wait.run(1.5)
    assert failure.value.live["metadata"] == item("b", "5")["metadata"]
    assert failure.value.reasons == ("it is not there",)


def test_a_cancelled_wait_says_so(server: Server, client: Client, cancelled: threading.Event) -> None:
    server.replies = [listed("5", item("b", "5"))]
    wait = waiting_for_b(client)
    threading.Timer(0.3, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(NotReadyError, match="Resource operation was cancelled for 'apps/b'"):
        wait.run(30)
    assert time.monotonic() - started < 3


def test_one_watch_serves_all_who_ask_for_the_same(server: Server, client: Client) -> None:
    server.replies = [listed("1")]
    watches = Watches(client)
    assert watches.on(CONFIG_MAPS, "apps") is watches.on(CONFIG_MAPS, "apps")
    assert watches.on(CONFIG_MAPS, "apps") is not watches.on(CONFIG_MAPS, "other")
