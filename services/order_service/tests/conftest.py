"""An app on a database of its own, and real gunicorn processes, for the tests of order-service."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("kit_testing")

from kit_testing.fixtures import *  # noqa: E402, F403
from kit_testing.fixtures import TIMEOUT_SECONDS, process_environment  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent
PACKAGE = "order_service"
# so that the tests find the service from any working directory
sys.path.insert(0, str(FOLDER))


@pytest.fixture
def folder() -> Path:
    return FOLDER


@pytest.fixture
def package() -> str:
    return PACKAGE


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """All the service needs to start; nobody listens on port 1, so user-service is away."""
    return {
        **process_environment(),
        "DATABASE_URL": f"sqlite:///{tmp_path}/service.db",
        "USER_SERVICE_URL": "http://127.0.0.1:1",
    }


class UserServiceStandIn(ThreadingHTTPServer):
    """Speaks user-service's side of the conversation on the loopback address: users 1 to 9 exist."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _UserHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[tuple[str, str | None]] = []
        # answered in this order before the usual answers: a status, or None to close the connection without one
        self.next_answers: list[int | None] = []
        # answers wait for it: cleared, it is a user-service that hangs
        self.answering = threading.Event()
        self.answering.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # a caller that gave up is what some tests are about
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _UserHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: UserServiceStandIn

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["X-Request-ID"]))
        self.server.answering.wait(timeout=TIMEOUT_SECONDS)
        exists = re.fullmatch("/users/[1-9]", self.path)
        status = self.server.next_answers.pop(0) if self.server.next_answers else (200 if exists else 404)
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the test's screen."""


@pytest.fixture
def user_service(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[UserServiceStandIn]:
    """A stand-in for user-service, which the app and servers of the test use; the app waits for it long."""
    for limit in ("ATTEMPT_TIMEOUT_SECONDS", "DEADLINE_SECONDS"):
        monkeypatch.setattr(f"{PACKAGE}.user_service.{limit}", TIMEOUT_SECONDS)
    stand_in = UserServiceStandIn()
    environment["USER_SERVICE_URL"] = stand_in.url
    threading.Thread(target=stand_in.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield stand_in
    stand_in.answering.set()
    stand_in.shutdown()
    stand_in.server_close()
