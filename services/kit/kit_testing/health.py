"""`/healthz` and `/readyz`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from kit.health import init_health
from kit.problems import init_problems


def _client(why_not_ready: Callable[[], str | None]) -> FlaskClient:
    app = Flask("health")
    init_problems(app)
    init_health(app, why_not_ready)
    return app.test_client()


def test_a_fresh_service_is_alive_and_ready(client: FlaskClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").get_json()) == (200, {"status": "ok"})
    assert (client.get("/readyz").status_code, client.get("/readyz").get_json()) == (200, {"status": "ready"})


def test_not_ready_is_503_with_the_reason_and_still_alive() -> None:
    client = _client(lambda: "the disk is full")
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

    client = _client(hang)
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
