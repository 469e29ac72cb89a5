"""Probes are patient where they should be, and checks are recorded as written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.health import checks_annotation, probes, verified
from services.spec import Check, ServiceSpec
from slipway.cluster.checks import Answer
from slipway.cluster.client import ForbiddenError


def test_checks_are_recorded_as_they_were_written() -> None:
    checks = [Check(get="/users", has="users"), Check(get="/none", status=404)]
    checks.append(Check.model_validate({"post": "/users", "body": {"name": None}, "json": {"$.id": None}}))
    checks.append(Check.model_validate({"head": "/", "headers": {"Host": "a"}, "timeoutSeconds": 90}))
    assert [Check.model_validate(each) for each in json.loads(checks_annotation(checks))] == checks


def test_a_cluster_that_lets_nobody_ask_is_no_failed_check(declare: Callable[..., Any]) -> None:
    def ask(*_: object) -> list[Answer]:
        raise ForbiddenError("pods/portforward is not allowed")

    with pytest.raises(pulumi.RunError) as raised:
        declare(lambda: verified([], {"a": [Check(get="/")]}, lambda: ask, 30, next_step="Look."))
    assert str(raised.value) == "The checks cannot run: pods/portforward is not allowed"


def test_liveness_is_the_most_patient_probe() -> None:
    spec = ServiceSpec.model_validate({"name": "a"})
    patience = {
        name: int(str(probe["period_seconds"])) * int(str(probe["failure_threshold"]))
        for name, probe in probes(spec, "http").items()
    }
    assert patience["liveness_probe"] > patience["readiness_probe"]
    assert patience["startup_probe"] == spec.health.startup_timeout_seconds


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ("/livez", {"http_get": {"path": "/livez", "port": "http"}}),
        ({"httpGet": {"path": "/x", "port": 9000}}, {"http_get": {"path": "/x", "port": 9000}}),
        ({"grpc": {}}, {"grpc": {"port": 8080}}),
        ({"grpc": {"service": "orders", "port": 9000}}, {"grpc": {"port": 9000, "service": "orders"}}),
        ({"tcp": {}}, {"tcp_socket": {"port": "http"}}),
        ({"tcpSocket": {"port": 9000}}, {"tcp_socket": {"port": 9000}}),
        ({"exec": ["cat", "/tmp/ready"]}, {"exec_": {"command": ["cat", "/tmp/ready"]}}),
    ],
)
def test_a_probe_asks_in_the_way_that_service_yaml_says(live: object, expected: dict[str, object]) -> None:
    spec = ServiceSpec.model_validate({"name": "a", "health": {"live": live}})
    probe = probes(spec, "http")["liveness_probe"]
    timings = {"period_seconds", "failure_threshold", "timeout_seconds"}
    assert {key: value for key, value in probe.items() if key not in timings} == expected


def test_a_failing_check_is_reported_with_the_log_of_its_service(declare: Callable[..., Any]) -> None:
    checks = {"user-service": [Check(get="/users", has="users")], "order-service": [Check(get="/orders")]}

    def ask(service: str, check: Check, _timeout_seconds: float) -> list[Answer]:
        if service == "order-service":
            return [Answer(200, "[]", "order-1")]
        return [Answer(200, "users", "user-1"), Answer(500, f"no {check.path}", "user-2")]

    def program() -> None:
        verified([], checks, lambda: ask, 0, next_step="Look.", recent_logs=lambda service: [f"{service} fell over"])

    with pytest.raises(pulumi.RunError) as raised:
        declare(program)
    assert str(raised.value).splitlines() == [
        "1 of 2 checks failed:",
        "  user-service: GET /users of pod user-2 answered 500: no /users; expected status 200 "
        "(1 of 2 pods, asked 1 time in 0 s)",
        "    log user-service:",
        "      | user-service fell over",
        "Look.",
    ]
