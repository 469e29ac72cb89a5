"""Probes are patient where they should be, and checks are recorded as written."""

from __future__ import annotations

import json

from components.health import checks_annotation, liveness_probe, readiness_probe, startup_probe
from services.spec import Check, Health


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
