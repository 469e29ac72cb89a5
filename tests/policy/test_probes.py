"""When the liveness probe asks the same as the readiness probe, however each of them is written."""

from __future__ import annotations

from typing import Any

import pytest

from policy.model import State
from tests.policy.policy_examples import UNKNOWN, Edit, edited, of

VIOLATION, PASS, UNDECIDED = State.VIOLATION, State.PASS, State.UNDECIDED
DEPLOYMENT = "Deployment/api"
CONTAINER = ("spec", "template", "spec", "containers", 0)
NAMES = ("livenessProbe", "readinessProbe")


@pytest.mark.parametrize(
    ("path", "failures", "expected"), [("/readyz", 4, PASS), ("/readyz", 3, VIOLATION), ("/healthz", 3, PASS)]
)
def test_the_same_question_for_liveness_needs_more_patience(path: str, failures: int, expected: State) -> None:
    # https://kubernetes.io/docs/concepts/workloads/pods/probes: the same path with a higher failureThreshold is common
    live = {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 10, "failureThreshold": failures}
    assert of("liveness-differs", DEPLOYMENT, edited(Edit(DEPLOYMENT, (*CONTAINER, "livenessProbe"), live))) is expected


@pytest.mark.parametrize(
    ("live", "ready", "expected"),
    [
        ({"httpGet": {"path": "/x", "port": 8080}}, {"httpGet": {"path": "/x", "port": "http"}}, VIOLATION),
        ({"httpGet": {"path": "/x", "port": "8080"}}, {"httpGet": {"path": "/x", "port": 8080}}, VIOLATION),
        ({"httpGet": {"port": 8080, "scheme": "HTTP"}}, {"httpGet": {"path": "/", "port": 8080}}, VIOLATION),
        ({"httpGet": {"port": "http", "httpHeaders": []}}, {"httpGet": {"path": "", "port": "http"}}, VIOLATION),
        ({"tcpSocket": {"port": 8080}}, {"tcpSocket": {"port": "http"}}, VIOLATION),
        ({"grpc": {"port": 8080, "service": ""}}, {"grpc": {"port": 8080}}, VIOLATION),
        ({"exec": {"command": ["true"]}}, {"exec": {"command": ["true"]}}, VIOLATION),
        ({"exec": {"command": ["true"]}}, {"exec": {"command": ["false"]}}, PASS),
        ({"httpGet": {"port": 8080, "scheme": "HTTPS"}}, {"httpGet": {"port": 8080}}, PASS),
        ({"httpGet": {"port": 8081}}, {"httpGet": {"port": "http"}}, PASS),
        ({"httpGet": {"port": 8080}}, {"tcpSocket": {"port": 8080}}, PASS),
        ({"httpGet": {"port": 8080}}, {"httpGet": {"port": UNKNOWN}}, UNDECIDED),
        ({"httpGet": {"port": 8080}}, {"httpGet": {"port": UNKNOWN, "path": "/x"}}, PASS),
    ],
    ids=str,
)
def test_a_question_is_the_same_however_it_is_written(live: Any, ready: Any, expected: State) -> None:
    probes = (Edit(DEPLOYMENT, (*CONTAINER, name), probe) for name, probe in zip(NAMES, (live, ready), strict=True))
    assert of("liveness-differs", DEPLOYMENT, edited(*probes)) is expected


def test_a_port_that_both_probes_name_need_not_be_known() -> None:
    ports = Edit(DEPLOYMENT, (*CONTAINER, "ports"), UNKNOWN)
    by_name = [Edit(DEPLOYMENT, (*CONTAINER, name), {"httpGet": {"port": "http"}}) for name in NAMES]
    by_number = Edit(DEPLOYMENT, (*CONTAINER, "livenessProbe"), {"httpGet": {"port": 8080}})
    assert of("liveness-differs", DEPLOYMENT, edited(ports, *by_name)) is VIOLATION
    assert of("liveness-differs", DEPLOYMENT, edited(ports, *by_name, by_number)) is UNDECIDED
