"""user-service as a process: its database setting, and the end with a request under way."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BODY = b'{"name": "Ada", "email": "ada@example.org"}'
HEAD = (
    b"POST /users HTTP/1.1\r\nHost: service\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


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


@pytest.mark.slow
def test_a_user_half_sent_at_sigterm_is_still_made(
    environment: dict[str, str], start_server: Callable[..., Any]
) -> None:
    server = start_server()
    with server.connected() as connection:
        connection.sendall(HEAD % len(BODY) + BODY[:10])
        server.terminate()
        connection.sendall(BODY[10:])
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert server.process.wait(timeout=60) == 0
    file = environment["DATABASE_URL"].removeprefix("sqlite:///")
    assert sqlite3.connect(file).execute("SELECT name FROM users").fetchall() == [("Ada",)]


@pytest.mark.slow
def test_a_large_body_without_a_length_is_413(start_server: Callable[..., Any]) -> None:
    server = start_server()
    head = b"POST /users HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connected() as connection:
        connection.sendall(head + b"5000\r\n" + b"x" * 0x5000 + b"\r\n0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
