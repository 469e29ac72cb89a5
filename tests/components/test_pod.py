"""Probes are patient where they should be, and ask as service.yaml says."""

from __future__ import annotations

import pytest

from components.pod import probes
from services.spec import ServiceSpec


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
