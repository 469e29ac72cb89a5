"""order-worker: what it confirms, how it goes on without a database, and how it ends."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from kit.database import Database
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

ROPE = {"user_id": 1, "item": "rope", "quantity": 3}
TIMEOUT_SECONDS = 60

pytestmark = pytest.mark.usefixtures("user_service")
worker = importlib.import_module("order_service.worker")


@pytest.fixture
def database(app: Flask) -> Database:
    """That of the service."""
    found: Database = app.extensions["database"]
    return found


def place(client: FlaskClient, number: int) -> None:
    for _ in range(number):
        assert client.post("/orders", json=ROPE).status_code == 201


def statuses(client: FlaskClient) -> list[str]:
    return [order["status"] for order in client.get("/orders").get_json()["orders"]]


def test_open_orders_are_confirmed_the_oldest_first(client: FlaskClient, database: Database) -> None:
    place(client, 3)
    assert worker.confirm_open_orders(database, limit=2) == 2
    assert statuses(client) == ["confirmed", "confirmed", "open"]
    assert client.get("/orders?status=open").get_json()["orders"][0]["id"] == 3
    assert client.get("/orders?status=confirmed&user_id=1").get_json()["total"] == 2
    assert worker.confirm_open_orders(database) == 1
    assert worker.confirm_open_orders(database) == 0


class Rounds(threading.Event):
    """Is set after so many waits, and knows how long each should have been."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.waits = number, list[float | None]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) == self.number:
            self.set()
        return self.is_set()


def test_it_waits_only_where_nothing_is_left(
    client: FlaskClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BATCH", 2)
    monkeypatch.setattr(worker.confirm_open_orders, "__defaults__", (2,))
    place(client, 5)
    rounds = Rounds(1)
    worker.run(database, rounds, 7, tmp_path / "alive")
    assert statuses(client) == ["confirmed"] * 5
    assert rounds.waits == [7]
    assert (tmp_path / "alive").exists()


def test_without_a_database_it_is_not_started_and_goes_on(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat = tmp_path / "alive"
    away = Database(make_url("postgresql+psycopg://u:secret@127.0.0.1:1/d"), database._metadata, "order-worker")
    with caplog.at_level(logging.WARNING):
        worker.run(away, Rounds(2), 1, heartbeat)
    assert not heartbeat.exists(), "its startup probe has to fail"
    refusals = [line for line in caplog.messages if line.startswith("no orders were confirmed: ")]
    assert len(refusals) == 2
    assert "secret" not in caplog.text


def test_a_database_that_goes_away_later_leaves_it_alive(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = tmp_path / "alive"
    answers: Iterator[int | Exception] = iter([0, OperationalError("SELECT", {}, Exception("gone"))])

    def confirm(_: Database) -> int:
        heartbeat.unlink(missing_ok=True)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(worker, "confirm_open_orders", confirm)
    worker.run(database, Rounds(2), 1, heartbeat)
    assert heartbeat.exists()


@pytest.fixture
def start(
    app: Flask, folder: Path, environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts it as in its image, on the database of the service."""
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "order_service.worker"],
            cwd=folder,
            env={**environment, "INTERVAL_SECONDS": "60", "HEARTBEAT_FILE": str(tmp_path / "alive"), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_it_ends_in_order_with_its_pod(client: FlaskClient, start: Callable[..., Any], tmp_path: Path) -> None:
    place(client, 1)
    process = start()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (tmp_path / "alive").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    lines = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, output
    assert [(line["service"], line["message"]) for line in lines] == [
        ("order-worker", "orders confirmed"),
        ("order-worker", "stopped"),
    ]
    assert lines[0]["orders"] == 1
    assert statuses(client) == ["confirmed"]
