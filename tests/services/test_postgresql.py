"""The services on a real PostgreSQL, in schemas of their own that are dropped afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from slipway.paths import CHECKOUT
from tests.lab_databases import lab_database, own_schema

pytestmark = pytest.mark.lab

START_TIMEOUT_SECONDS = 30


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=CHECKOUT / "services/order_service",
        env=_environment(DATABASE_URL=url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def migrate(url: str, version: str = "head") -> None:
    done = alembic(url, "upgrade", version)
    assert done.returncode == 0, done.stdout + done.stderr


def _environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "services/kit"), **variables}


@contextmanager
def _server(service: str, log: Path, **variables: str) -> Iterator[str]:
    """The URL of one gunicorn on a free port, ready."""
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=CHECKOUT / "services" / service, env=_environment(**variables), stdout=output, stderr=output
        )
    try:
        yield _when_ready(log)
    finally:
        process.terminate()
        assert process.wait(timeout=START_TIMEOUT_SECONDS) == 0


def _when_ready(log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if listening := re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", log.read_text()):
            ready = httpx.get(f"{listening[1]}/readyz", timeout=START_TIMEOUT_SECONDS, trust_env=False)
            assert ready.status_code == 200, ready.text
            return listening[1]
        time.sleep(0.05)
    raise AssertionError(f"it did not start:\n{log.read_text()}")


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """Starts a service several times at once, on one fresh schema."""
    with ExitStack() as stack:

        def start(service: str, **variables: str) -> list[str]:
            url = stack.enter_context(own_schema(lab_database(service)))
            if service == "order_service":
                migrate(url)
            logs = [tmp_path / f"{service}-{number}.log" for number in range(2)]
            servers = [_server(service, log, DATABASE_URL=url, **variables) for log in logs]
            with ThreadPoolExecutor() as pool:
                return list(pool.map(stack.enter_context, servers))

        yield start


@pytest.mark.thorough  # tests/e2e/test_first_release.py has one of each
def test_replicas_share_their_users_and_orders_and_one_address_sent_to_both_at_once_is_one_user(
    replicas: Callable[..., list[str]],
) -> None:
    users = replicas("user_service")
    orders = replicas("order_service", USER_SERVICE_URL=users[1])
    with httpx.Client(trust_env=False, timeout=10) as client:
        made = client.post(f"{users[0]}/users", json={"name": "Søren 李", "email": "s@example.org"})
        assert made.status_code == 201
        user = made.json()
        assert client.get(f"{users[1]}/users/{user['id']}").json() == user
        assert client.post(f"{users[1]}/users", json={"name": "B", "email": "S@example.org"}).status_code == 409
        assert client.get(f"{users[0]}/users/2147483647").status_code == 404

        order = {"user_id": user["id"], "item": "rope", "quantity": 3}
        assert client.post(f"{orders[0]}/orders", json=order).status_code == 201
        assert client.post(f"{orders[0]}/orders", json={**order, "user_id": 2147483647}).status_code == 422
        listed = client.get(f"{orders[1]}/orders?user_id={user['id']}").json()
        assert (listed["total"], listed["orders"][0]["item"]) == (1, "rope")

        assert client.delete(f"{users[1]}/users/{user['id']}").status_code == 204
        assert client.get(f"{users[0]}/users").json()["users"] == []

    def send(number: int) -> int:
        body = {"name": "Ada", "email": "ada@example.org"}
        return httpx.post(f"{users[number % 2]}/users", json=body, timeout=10, trust_env=False).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [201] + [409] * 7


@pytest.fixture
def orders_url() -> Iterator[str]:
    """A database for order-service in which no table was made yet."""
    with own_schema(lab_database("order_service")) as url:
        yield url


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_the_migrations_make_what_the_service_declares(orders_url: str) -> None:
    migrate(orders_url)
    compared = alembic(orders_url, "check")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    execute(orders_url, "ALTER TABLE orders DROP COLUMN confirmed_at")
    assert "confirmed_at" in alembic(orders_url, "check").stdout, "it must be able to fail"


def test_a_table_of_before_the_migrations_is_taken_over_with_its_orders(orders_url: str) -> None:
    execute(
        orders_url,
        "CREATE TABLE orders (id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL, item VARCHAR(200) NOT NULL,"
        " quantity INTEGER NOT NULL CONSTRAINT quantity_is_positive CHECK (quantity > 0));"
        "CREATE INDEX ix_orders_user_id ON orders (user_id)",
    )
    place = "INSERT INTO orders (user_id, item, quantity) VALUES (1, 'rope', 3)"
    execute(orders_url, place)
    migrate(orders_url)
    assert alembic(orders_url, "check").returncode == 0
    execute(orders_url, place)  # as the release before does, whose pods still answer
    assert execute(orders_url, "SELECT confirmed_at, created_at IS NULL FROM orders") == [(None, False)] * 2


def test_migrations_of_two_updates_at_once_wait_for_each_other(orders_url: str) -> None:
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: alembic(orders_url, "upgrade", "head"), range(3)))
    assert [each.returncode for each in done] == [0] * 3, [each.stdout + each.stderr for each in done]
    assert execute(orders_url, "SELECT version_num FROM alembic_version") == [("2",)]


def run_module(name: str, url: str, tmp_path: Path, **variables: str) -> subprocess.Popen[str]:
    given = {"INTERVAL_SECONDS": "0.1", "HEARTBEAT_FILE": str(tmp_path / "alive"), "KEEP_DAYS": "7", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", f"order_service.{name}"],
        cwd=CHECKOUT / "services/order_service",
        env=_environment(DATABASE_URL=url, **given),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.thorough  # tests/e2e/test_first_release.py has one
def test_workers_share_the_open_orders_and_wait_for_the_tables(orders_url: str, tmp_path: Path) -> None:
    workers = [run_module("worker", orders_url, tmp_path) for _ in range(2)]
    try:
        time.sleep(1)
        assert not (tmp_path / "alive").exists()
        migrate(orders_url)
        execute(
            orders_url,
            "INSERT INTO orders (user_id, item, quantity) SELECT 1, 'rope', n FROM generate_series(1, 2000) n",
        )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        is_open = "SELECT count(*) FROM orders WHERE confirmed_at IS NULL"
        while execute(orders_url, is_open) != [(0,)] and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.terminate()
        outputs = [worker.communicate(timeout=START_TIMEOUT_SECONDS)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    lines = [json.loads(line) for output in outputs for line in output.splitlines()]
    assert sum(line.get("orders", 0) for line in lines) == 2000, "each order is confirmed once"
    assert any('relation "orders" does not exist' in line["message"] for line in lines)


def test_orders_confirmed_long_ago_are_deleted(orders_url: str, tmp_path: Path) -> None:
    migrate(orders_url)
    execute(
        orders_url,
        "INSERT INTO orders (user_id, item, quantity, confirmed_at)"
        " SELECT 1, 'rope', n, now() - interval '1 day' * n FROM generate_series(1, 3000) n",
    )
    execute(orders_url, "INSERT INTO orders (user_id, item, quantity, created_at) VALUES (1, 'old', 1, '2020-01-01')")
    cleanup = run_module("cleanup", orders_url, tmp_path)
    output, _ = cleanup.communicate(timeout=START_TIMEOUT_SECONDS)
    assert cleanup.returncode == 0, output
    assert json.loads(output)["orders"] == 2994
    assert execute(orders_url, "SELECT count(*), count(confirmed_at) FROM orders") == [(7, 6)]
