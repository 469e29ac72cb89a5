"""order-service as a process: its settings, its log, and the end with an order under way."""

from __future__ import annotations

import http.client
import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROPE = json.dumps({"user_id": 1, "item": "rope", "quantity": 3})


def _place(port: int) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json", "X-Request-ID": "abc"}
    connection.request("POST", "/orders", body=ROPE, headers=headers)
    answer = connection.getresponse()
    return answer.status, json.load(answer)


def test_without_a_database_url_it_says_so_in_one_line(environment: dict[str, str]) -> None:
    del environment["DATABASE_URL"]
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0"],
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert json.loads(line)["message"].startswith("cannot start: DATABASE_URL is not set; ")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "USER_SERVICE_URL is not set; set it to something like http://user-service"),
        ("user-service:80", "USER_SERVICE_URL is 'user-service:80'; set it to an http"),
        ("http://", "USER_SERVICE_URL is 'http://'; set it to an http"),
        ("ftp://user-service", "USER_SERVICE_URL is 'ftp://user-service'; set it to an http"),
        ("http://[user-service", "USER_SERVICE_URL is 'http://[user-service'; set it to an http"),
        ("http://user-service:http", "USER_SERVICE_URL is 'http://user-service:http'; set it to an http"),
    ],
)
def test_a_wrong_user_service_url_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    monkeypatch.setenv("USER_SERVICE_URL", value)
    settings = importlib.import_module("order_service.settings")
    with pytest.raises(settings.settings.SettingsError) as refused:
        settings.user_service_url()
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("value", ["http://user-service", "http://user-service:80/", "https://10.0.0.1/prefix/"])
def test_a_user_service_url_is_taken_without_its_last_slash(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("USER_SERVICE_URL", value)
    assert importlib.import_module("order_service.settings").user_service_url() == value.rstrip("/")


@pytest.mark.slow
def test_an_order_under_way_at_sigterm_is_placed(user_service: Any, start_server: Callable[..., Any]) -> None:
    server = start_server()
    user_service.answering.clear()
    answers: list[tuple[int, dict[str, Any]]] = []
    caller = threading.Thread(target=lambda: answers.append(_place(server.port)))
    caller.start()
    while not user_service.seen and caller.is_alive():
        time.sleep(0.01)
    server.terminate()
    user_service.answering.set()
    caller.join()
    assert answers == [(201, {"id": 1, **json.loads(ROPE), "status": "open"})]
    assert server.process.wait(timeout=60) == 0


@pytest.mark.slow
def test_every_line_of_a_request_has_its_id(user_service: Any, start_server: Callable[..., Any]) -> None:
    server = start_server()
    user_service.next_answers = [503]
    assert _place(server.port)[0] == 201
    server.stop()
    lines = [line for line in server.lines() if line["logger"] in ("request", "user-service")]
    assert [line["logger"] for line in lines] == ["user-service", "request"]
    assert {line["request_id"] for line in lines} == {"abc"}
