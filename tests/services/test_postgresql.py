"""Both services on a real PostgreSQL, two processes of each, in schemas of their own that are dropped afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from slipway.paths import CHECKOUT, lab_environment_file

pytestmark = pytest.mark.lab

START_TIMEOUT_SECONDS = 30


@contextmanager
def _schema(service: str) -> Iterator[str]:
    """A DATABASE_URL on the lab's PostgreSQL whose tables live and die in a schema of this test."""
    url_file = json.loads(lab_environment_file().read_text())[f"{service.upper()}_DATABASE_URL_FILE"]
    url = make_url(Path(url_file).read_text().strip()).set(drivername="postgresql")
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            own = url.update_query_dict({"options": f"-csearch_path={name}"})
            yield own.render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@contextmanager
def _server(service: str, log: Path, **variables: str) -> Iterator[str]:
    """The URL of one gunicorn on a free port, ready."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "services/kit"), **variables}
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=CHECKOUT / "services" / service, env=environment, stdout=output, stderr=output
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
            url = stack.enter_context(_schema(service))
            logs = [tmp_path / f"{service}-{number}.log" for number in range(2)]
            servers = [_server(service, log, DATABASE_URL=url, **variables) for log in logs]
            with ThreadPoolExecutor() as pool:
                return list(pool.map(stack.enter_context, servers))

        yield start


def test_replicas_share_their_users_and_orders(replicas: Callable[..., list[str]]) -> None:
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


def test_one_address_sent_to_both_replicas_at_once_is_one_user(replicas: Callable[..., list[str]]) -> None:
    users = replicas("user_service")

    def send(number: int) -> int:
        body = {"name": "Ada", "email": "ada@example.org"}
        return httpx.post(f"{users[number % 2]}/users", json=body, timeout=10, trust_env=False).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [201] + [409] * 7
