"""A failing probe's path is asked once more, through the port-forward, and answered as the kubelet would report it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster.client import Cluster
from slipway.cluster.diagnosis import Evidence, diagnose
from slipway.cluster.port_forward import probe_answer
from tests.slipway.cluster.api_server import ApiServer, api_server

REFUSED = "dial tcp 10.0.0.7:8080: connect: connection refused"


class Handler(BaseHTTPRequestHandler):
    """Answers 404 to everything but `/healthz`."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("authorities")) as made:
        yield made


def evidence(port: int, path: str, state: dict[str, Any], kind: str = "containers") -> Evidence:
    """A pod whose startup probe was refused while it started, and which the kubelet has said no more about."""
    probe = {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": 60}
    container = {"name": "web", "ports": [{"name": "http", "containerPort": port}], "startupProbe": probe}
    status = {"name": "web", "ready": False, "started": False, "restartCount": 0, "state": state}
    revision = {"annotations": {"deployment.kubernetes.io/revision": "1"}}
    statuses = {"containers": "containerStatuses", "initContainers": "initContainerStatuses"}
    pod = {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "p", "ownerReferences": [{"uid": "r"}]},
        "spec": {kind: [container]},
        "status": {"phase": "Running", statuses[kind]: [status]},
    }
    event = {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": f'Startup probe failed: Get "http://10.0.0.7:8080{path}": {REFUSED}',
        "involvedObject": {"uid": "p", "fieldPath": f"spec.{kind}{{web}}"},
        "lastTimestamp": "2999-01-01T00:00:00Z",
    }
    return Evidence(
        {"metadata": {"name": "web", "uid": "d", **revision}},
        [{"metadata": {"uid": "r", "ownerReferences": [{"uid": "d"}], **revision}}],
        [pod],
        [event],
    )


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_a_service_that_answers_404_by_now_is_not_said_to_refuse_connections(
    server: ApiServer, service: int, kind: str
) -> None:
    seen = evidence(service, "/wrong", {"running": {}}, kind)
    before = diagnose(seen)
    assert "does not answer" in before.headline
    event = probe_answer(Cluster(server.client(), None), seen, before.finding)
    assert event
    after = diagnose(Evidence(seen.deployment, seen.replica_sets, seen.pods, [*seen.events, event]))
    assert "does not pass its startup probe: GET /wrong on port http answers 404" in after.headline


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/healthz", {"running": {}}),  # answers well by now: the kubelet knows more
        ("/wrong", {"waiting": {"reason": "CrashLoopBackOff"}}),  # nothing runs that could be asked
    ],
)
def test_an_answer_that_says_nothing_new_is_none(
    server: ApiServer, service: int, path: str, state: dict[str, Any]
) -> None:
    seen = evidence(service, path, state)
    assert probe_answer(Cluster(server.client(), None), seen, diagnose(seen).finding) is None


def test_a_port_that_is_closed_and_a_right_that_is_missing_are_no_answer(server: ApiServer, tmp_path: Path) -> None:
    seen = evidence(1, "/wrong", {"running": {}})
    finding = diagnose(seen).finding
    assert probe_answer(Cluster(server.client(), None), seen, finding) is None
    with api_server(tmp_path, status=403, body="forbidden") as refusing:
        assert probe_answer(Cluster(refusing.client(), None), seen, finding) is None
