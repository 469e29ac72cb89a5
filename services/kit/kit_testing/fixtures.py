"""A service's app, and real gunicorn processes; `folder`, `package` and `environment` are its own conftest.py's."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

# generous: a busy machine must not look like a broken service
TIMEOUT_SECONDS = 60


def run_python(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A finished process of Python in the service's folder, with these arguments."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def process_environment() -> dict[str, str]:
    """The environment that a process of any service needs: programs, and the kit's folder."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


class Server:
    """The service as it runs in its image, on a free port of the loopback address."""

    def __init__(self, folder: Path, environment: dict[str, str], log: Path) -> None:
        self.log_file = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0"],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.port = int(self._wait_for("Listening at: http://127.0.0.1:").partition(" ")[0])
        # the port takes connections before a worker is there to answer them
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=TIMEOUT_SECONDS).close()

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines; raises ValueError if a line is no JSON."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """A connection that a worker has surely accepted: it has answered a first request on it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        yield connection.sock
        connection.close()

    def terminate(self) -> None:
        """Sends SIGTERM and returns when the server has noticed it."""
        self.process.terminate()
        self._wait_for("Handling signal: term")

    def stop(self) -> int:
        """Exit status after SIGTERM."""
        self.process.terminate()
        return self.process.wait(timeout=TIMEOUT_SECONDS)

    def _wait_for(self, text: str) -> str:
        """The rest of the log line with `text`."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            _, found, rest = self.log_file.read_text().partition(text)
            if found and "\n" in rest:
                return rest.partition("\n")[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"no {text!r} in the log:\n{self.log_file.read_text()}")


@pytest.fixture
def app(package: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Flask:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    created: Flask = importlib.import_module(f"{package}.main").create_app()
    return created


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def start_server(folder: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts the service with the environment and the given variables; stops it after the test."""
    started: list[Server] = []

    def start(**variables: str) -> Server:
        started.append(Server(folder, {**environment, **variables}, tmp_path / f"server-{len(started)}.log"))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
