"""Probes are patient where they should be, and checks are recorded as written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.health import checks_annotation, liveness_probe, readiness_probe, startup_probe, verified
from services.spec import Check, Health
from slipway.cluster.checks import Answer


def test_checks_are_recorded_as_they_were_written() -> None:
    checks = [Check(get="/users", has="users"), Check(get="/none", status=404)]
    assert [Check.model_validate(each) for each in json.loads(checks_annotation(checks))] == checks


def test_liveness_is_the_most_patient_probe() -> None:
    health = Health()

    def patience(probe: dict[str, int]) -> int:
        return probe["period_seconds"] * probe["failure_threshold"]

    live = liveness_probe(health, "http")
    assert patience(live) > patience(readiness_probe(health, "http"))  # type: ignore[arg-type]
    assert patience(startup_probe(health, "http")) == health.startup_timeout_seconds  # type: ignore[arg-type]


def test_a_failing_check_is_told_with_the_log_of_its_service(declare: Callable[..., Any]) -> None:
    checks = {"user-service": [Check(get="/users", has="users")], "order-service": [Check(get="/orders")]}

    def ask(service: str, path: str) -> Answer:
        return Answer(200, "[]") if service == "order-service" else Answer(500, f"no {path}")

    def program() -> None:
        verified([], checks, lambda: ask, 0, next_step="Look.", recent_logs=lambda service: [f"{service} fell over"])

    with pytest.raises(pulumi.RunError) as raised:
        declare(program)
    assert str(raised.value).splitlines() == [
        "1 of 2 checks failed:",
        "  user-service: GET /users answered 500: no /users; wanted status 200 (asked 1 times in 0 s)",
        "    log user-service:",
        "      | user-service fell over",
        "Look.",
    ]
