"""The conversation with user-service: request ids, retries, time limits, and its absence."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

ROPE = {"user_id": 1, "item": "rope", "quantity": 3}


def test_the_request_id_goes_along(user_service: Any, client: FlaskClient) -> None:
    answer = client.post("/orders", json=ROPE, headers={"X-Request-ID": "abc-1"})
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert user_service.seen == [("/users/1", "abc-1")]


def test_a_made_up_request_id_goes_along_too(user_service: Any, client: FlaskClient) -> None:
    answer = client.post("/orders", json=ROPE)
    assert user_service.seen == [("/users/1", answer.headers["X-Request-ID"])]


@pytest.mark.parametrize("first_answers", [[503], [502, 504], [None], [None, 503]])
def test_a_passing_fault_is_retried(user_service: Any, client: FlaskClient, first_answers: list[int | None]) -> None:
    user_service.next_answers = list(first_answers)
    assert client.post("/orders", json=ROPE).status_code == 201
    assert len(user_service.seen) == len(first_answers) + 1


@pytest.mark.parametrize("answer", [503, None])
def test_a_lasting_fault_is_503_with_retry_after(user_service: Any, client: FlaskClient, answer: int | None) -> None:
    user_service.next_answers = [answer] * 9
    refused = client.post("/orders", json=ROPE)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert refused.get_json()["detail"].startswith("user-service does not answer, so the user cannot be checked")
    assert len(user_service.seen) == 3
    assert client.get("/orders").get_json()["total"] == 0


@pytest.mark.parametrize("answer", [204, 302, 400, 401, 500])
def test_an_answer_that_is_not_understood_is_502_at_once(user_service: Any, client: FlaskClient, answer: int) -> None:
    user_service.next_answers = [answer]
    assert client.post("/orders", json=ROPE).status_code == 502
    assert len(user_service.seen) == 1


def test_nobody_there_is_503_soon_and_orders_can_still_be_listed(client: FlaskClient) -> None:
    started = time.monotonic()
    assert client.post("/orders", json=ROPE).status_code == 503
    assert time.monotonic() - started < 10
    assert client.get("/orders").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_silence_is_given_up(user_service: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("order_service.user_service.ATTEMPT_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("order_service.user_service.DEADLINE_SECONDS", 0)
    user_service.answering.clear()
    started = time.monotonic()
    assert client.post("/orders", json=ROPE).status_code == 503
    assert time.monotonic() - started < 10
    assert len(user_service.seen) <= 1, "no attempt starts after the deadline"


def test_a_slow_user_service_takes_no_more_than_its_share_of_threads(user_service: Any, app: Flask) -> None:
    user_service.answering.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(lambda: app.test_client().post("/orders", json=ROPE)) for _ in range(8)]
        deadline = time.monotonic() + 30
        while len(user_service.seen) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        one_more = app.test_client().post("/orders", json=ROPE)
        user_service.answering.set()
    assert [answer.result().status_code for answer in waiting] == [201] * 8
    assert one_more.status_code == 503
    assert one_more.get_json()["detail"].startswith("user-service is slow, ")
    assert len(user_service.seen) == 8


def test_a_proxy_in_the_environment_is_not_used(
    user_service: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert client.post("/orders", json=ROPE).status_code == 201


def test_its_time_is_measured(user_service: Any, client: FlaskClient) -> None:
    client.post("/orders", json=ROPE)
    client.post("/orders", json={**ROPE, "user_id": 77})
    metrics = client.get("/metrics").get_data(as_text=True)
    assert 'user_service_request_duration_seconds_count{outcome="200"} 1.0' in metrics
    assert 'user_service_request_duration_seconds_count{outcome="404"} 1.0' in metrics
