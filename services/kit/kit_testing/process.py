"""The service as a process: start, logs, and its end during a request."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import settings

from kit_testing.fixtures import run_python


@pytest.mark.slow
def test_it_serves_logs_json_and_ends_with_0(start_server: Callable[..., Any], package: str) -> None:
    server = start_server(LOG_LEVEL="DEBUG")
    for path in ("/healthz", "/readyz", "/metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=30) as answer:
            assert answer.status == 200
    assert server.stop() == 0
    lines = server.lines()
    assert {line["service"] for line in lines} == {package.replace("_", "-")}
    assert not [line for line in lines if line["level"] in ("warning", "error", "critical")]
    paths = [line["path"] for line in lines if line["logger"] == "request"]
    assert paths[-3:] == ["/healthz", "/readyz", "/metrics"]


@pytest.mark.slow
def test_a_request_under_way_at_sigterm_is_answered(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with server.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: service\r\n")
        server.terminate()
        assert server.process.poll() is None, "it must wait for the request"
        connection.sendall(b"\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.process.wait(timeout=60) == 0


def test_a_wrong_setting_ends_it_with_one_clear_line(folder: Path, environment: dict[str, str], package: str) -> None:
    code = f"import {package}.settings as s; s.Settings.from_environment()"
    ended = run_python(folder, {**environment, "LOG_LEVEL": "loud"}, "-c", code)
    assert ended.returncode == 2
    (line,) = (ended.stdout + ended.stderr).splitlines()
    message = json.loads(line)["message"]
    assert message == "cannot start: LOG_LEVEL is 'loud'; set it to one of debug, info, warning, error"


@pytest.mark.parametrize("value", ["eighty", "65536", "-1", "80.5", "²"])
def test_a_wrong_port_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PORT", value)
    with pytest.raises(settings.SettingsError, match=f"PORT is '{value}'; set it to a number from 0 to 65535"):
        settings.port(default=8080)


def test_the_port_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    assert settings.port(default=8080) == 8080
    monkeypatch.setenv("PORT", "9000")
    assert settings.port(default=8080) == 9000


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan", "inf"])
def test_what_is_no_positive_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("INTERVAL_SECONDS", value)
    with pytest.raises(settings.SettingsError, match=r"INTERVAL_SECONDS is .*; set it to .*5$"):
        settings.positive_number("INTERVAL_SECONDS", "5")
    monkeypatch.setenv("INTERVAL_SECONDS", " 0.5 ")
    assert settings.positive_number("INTERVAL_SECONDS", "5") == 0.5
