"""Request ids, log lines and metrics."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from kit.logs import JsonLines


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
