"""What the kit does for every service: start and end, addresses, probes, request ids, logs, metrics and refusals."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, redirect
from flask.testing import FlaskClient
from kit import settings
from kit.health import init_health
from kit.listening import bind_addresses
from kit.logs import JsonLines
from kit.problems import init_problems
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wrappers import Response

from kit_testing.fixtures import run_python


@pytest.mark.slow
def test_it_serves_logs_json_and_ends_with_0(start_server: Callable[..., Any], package: str) -> None:
    server = start_server(LOG_LEVEL="DEBUG")
    for path in ("/healthz", "/readyz", "/metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=30) as answer:
            assert answer.status == 200
    assert server.stop() == 0
    lines = server.lines()
    assert {line["service"] for line in lines} == {package.replace("_", "-")}
    assert not [line for line in lines if line["level"] in ("warning", "error", "critical")]
    paths = [line["path"] for line in lines if line["logger"] == "request"]
    assert paths[-3:] == ["/healthz", "/readyz", "/metrics"]


@pytest.mark.slow
def test_a_request_under_way_at_sigterm_is_answered(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with server.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: service\r\n")
        server.terminate()
        assert server.process.poll() is None, "it must wait for the request"
        connection.sendall(b"\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.process.wait(timeout=60) == 0


def test_a_wrong_setting_ends_it_with_one_clear_line(folder: Path, environment: dict[str, str], package: str) -> None:
    code = f"import {package}.settings as s; s.Settings.from_environment()"
    ended = run_python(folder, {**environment, "LOG_LEVEL": "loud"}, "-c", code)
    assert ended.returncode == 2
    (line,) = (ended.stdout + ended.stderr).splitlines()
    message = json.loads(line)["message"]
    assert message == "cannot start: LOG_LEVEL is 'loud'; set it to one of debug, info, warning, error"


@pytest.mark.parametrize("value", ["eighty", "65536", "-1", "80.5", "²"])
def test_a_wrong_port_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PORT", value)
    with pytest.raises(settings.SettingsError, match=f"PORT is '{value}'; set it to a number from 0 to 65535"):
        settings.port(default=8080)


def test_the_port_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    assert settings.port(default=8080) == 8080
    monkeypatch.setenv("PORT", "9000")
    assert settings.port(default=8080) == 9000


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan", "inf"])
def test_what_is_no_positive_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("INTERVAL_SECONDS", value)
    with pytest.raises(settings.SettingsError, match=r"INTERVAL_SECONDS is .*; set it to .*5$"):
        settings.positive_number("INTERVAL_SECONDS", "5")
    monkeypatch.setenv("INTERVAL_SECONDS", " 0.5 ")
    assert settings.positive_number("INTERVAL_SECONDS", "5") == 0.5


def test_both_families_can_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = []
    try:
        for address in bind_addresses(port):
            family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM)
            servers.append(server)
            server.bind((address.rpartition(":")[0].strip("[]"), port))
            server.listen()
        hosts = ["127.0.0.1", *(["::1"] if _has_ipv6() else [])]
        for host in hosts:
            socket.create_connection((host, port), timeout=5).close()
    finally:
        for server in servers:
            server.close()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_kernel_without_ipv6_is_listened_to_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_INET6", 999)
    assert bind_addresses(8080) == ["0.0.0.0:8080"]


def _client_with_health(why_not_ready: Callable[[], str | None]) -> FlaskClient:
    app = Flask("health")
    init_problems(app)
    init_health(app, why_not_ready)
    return app.test_client()


def test_a_fresh_service_is_alive_and_ready(client: FlaskClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").get_json()) == (200, {"status": "ok"})
    assert (client.get("/readyz").status_code, client.get("/readyz").get_json()) == (200, {"status": "ready"})


def test_not_ready_is_503_with_the_reason_and_still_alive() -> None:
    client = _client_with_health(lambda: "the disk is full")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["detail"] == "not ready: the disk is full"
    assert client.get("/healthz").status_code == 200


def test_a_check_that_hangs_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.health.CHECK_TIMEOUT_SECONDS", 0.1)
    answered = threading.Event()
    calls: list[float] = []

    def hang() -> None:
        calls.append(time.monotonic())
        answered.wait(timeout=60)

    client = _client_with_health(hang)
    try:
        for _ in range(3):
            started = time.monotonic()
            answer = client.get("/readyz")
            assert time.monotonic() - started < 5
            assert answer.status_code == 503
            assert answer.get_json()["detail"] == "not ready: no answer within 0.1 s"
        assert len(calls) <= 1, "probes must not pile up behind a check that hangs"
    finally:
        answered.set()
    monkeypatch.undo()
    assert client.get("/readyz").status_code == 200


@pytest.fixture
def logged() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines logged so far, formatted as the service formats them."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.setFormatter(JsonLines("a-service"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in lines]
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_given_request_id_is_kept(client: FlaskClient) -> None:
    assert (
        client.get("/healthz", headers={"X-Request-ID": "order-17:a_B.c"}).headers["X-Request-ID"] == "order-17:a_B.c"
    )


@pytest.mark.parametrize("offered", [None, "", "has space", "x" * 129, "ümlaut", '"}{"'])
def test_a_missing_or_strange_request_id_is_replaced(client: FlaskClient, offered: str | None) -> None:
    headers = {} if offered is None else {"X-Request-ID": offered}
    given = client.get("/healthz", headers=headers).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", given)


def test_every_request_has_its_own_id(client: FlaskClient) -> None:
    assert len({client.get("/healthz").headers["X-Request-ID"] for _ in range(5)}) == 5


@pytest.mark.parametrize("path", ["/nowhere", "/crash"])
def test_failures_carry_the_request_id_too(app: Flask, path: str) -> None:
    app.add_url_rule("/crash", view_func=_crash)
    answer = app.test_client().get(path, headers={"X-Request-ID": "abc"})
    assert answer.headers["X-Request-ID"] == "abc"
    assert answer.get_json()["request_id"] == "abc"


def test_a_request_is_one_line_with_its_id(client: FlaskClient, logged: Callable[[], list[dict[str, Any]]]) -> None:
    client.get("/nowhere?x=1", headers={"X-Request-ID": "abc"})
    (line,) = [line for line in logged() if line["logger"] == "request"]
    assert line["request_id"] == "abc"
    assert (line["method"], line["path"], line["status"], line["level"]) == ("GET", "/nowhere", 404, "info")
    assert line["service"] == "a-service"
    assert 0 <= line["duration_ms"] < 5000


def test_a_crash_is_logged_with_its_traceback_and_id(app: Flask, logged: Callable[[], list[dict[str, Any]]]) -> None:
    app.add_url_rule("/crash", view_func=_crash)
    app.test_client().get("/crash", headers={"X-Request-ID": "abc"})
    crash = next(line for line in logged() if "exception" in line)
    assert "RuntimeError: a secret detail" in crash["exception"]
    assert crash["request_id"] == "abc"
    assert [line["level"] for line in logged() if line["logger"] == "request"] == ["error"]


def test_probes_are_logged_at_level_debug(client: FlaskClient, logged: Callable[[], list[dict[str, Any]]]) -> None:
    client.get("/healthz")
    client.get("/metrics")
    assert [line["level"] for line in logged() if line["logger"] == "request"] == ["debug", "debug"]


def test_lines_outside_a_request_have_no_id_and_stay_one_line(
    logged: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    with monkeypatch.context() as patch:
        # not pytest's own handlers: pytest-xdist cannot report a lone surrogate that they captured
        patch.setattr(root, "handlers", [each for each in root.handlers if isinstance(each.formatter, JsonLines)])
        logging.getLogger("anything").warning("two\nlines and a lone \ud800")
    (line,) = logged()
    assert line["request_id"] is None
    assert line["message"] == "two\nlines and a lone \ud800"
    assert line["time"].endswith("+00:00")


def test_metrics_count_requests_by_route_and_status(client: FlaskClient) -> None:
    client.get("/healthz")
    client.get("/healthz")
    client.get("/nowhere/1")
    client.get("/nowhere/2")
    client.open("/healthz", method="INVENTED")
    metrics = client.get("/metrics").get_data(as_text=True)
    assert 'http_requests_total{method="GET",route="/healthz",status="200"} 2.0' in metrics
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 2.0' in metrics
    assert 'http_requests_total{method="other",route="unmatched",status="405"} 1.0' in metrics
    assert 'http_request_duration_seconds_count{method="GET",route="/healthz"} 2.0' in metrics
    assert "process_resident_memory_bytes" in metrics


def test_metrics_are_served_in_the_requested_format(client: FlaskClient) -> None:
    assert client.get("/metrics").headers["Content-Type"].startswith("text/plain; version=")
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.get_data(as_text=True).endswith("# EOF\n")


def _crash() -> str:
    raise RuntimeError("a secret detail")


def test_an_unknown_path_is_404(client: FlaskClient) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert (body["type"], body["title"], body["status"]) == ("about:blank", "Not Found", 404)
    assert body["detail"]


def test_a_wrong_method_is_405_and_says_what_is_allowed(client: FlaskClient) -> None:
    answer = client.put("/healthz")
    assert answer.status_code == 405
    assert answer.get_json()["status"] == 405
    assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["Allow"].split(", "))


def test_a_crash_is_500_and_tells_callers_nothing_of_the_inside(app: Flask) -> None:
    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("a secret detail")

    answer = app.test_client().get("/crash")
    assert answer.status_code == 500
    assert answer.get_json()["status"] == 500
    assert "secret" not in answer.get_data(as_text=True)


def test_the_headers_of_a_failure_stay(app: Flask) -> None:
    @app.get("/busy")
    def busy() -> str:
        raise ServiceUnavailable("later", retry_after=7)

    answer = app.test_client().get("/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.get_json()["detail"] == "later"
    assert int(answer.headers["Content-Length"]) == len(answer.data)


def test_a_redirection_is_no_problem(app: Flask) -> None:
    @app.get("/old")
    def old() -> Response:
        return redirect("/new")

    @app.get("/folder/")
    def folder() -> str:
        return "here"

    assert app.test_client().get("/old").location == "/new"
    assert app.test_client().get("/folder").status_code == 308
