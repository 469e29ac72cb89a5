"""What rules about the network make of exposure, selectors by expression and unknown neighbours."""

from __future__ import annotations

from typing import Any

import pytest

from policy.model import State
from tests.policy.policy_examples import SELECTOR, UNKNOWN, Edit, edited, judged, kubernetes, of, result

VIOLATION, PASS, UNDECIDED = State.VIOLATION, State.PASS, State.UNDECIDED
DEPLOYMENT = "Deployment/api"
PORTS = ("spec", "template", "spec", "containers", 0, "ports")
EXPOSED = Edit("Service/api", ("spec", "type"), "NodePort")


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_exposure_is_declared_by_a_network_policy_that_opens_the_pods(kind: str) -> None:
    exposed = Edit("Service/api", ("spec", "type"), kind)
    from_neighbours = [{"from": [{"podSelector": SELECTOR}], "ports": [{"port": 8080}]}]
    closed = Edit("NetworkPolicy/api", ("spec", "ingress"), from_neighbours)
    unknown = Edit("NetworkPolicy/api", ("spec", "ingress"), UNKNOWN)
    assert of("exposure-declared", "Service/api", edited(exposed)) is PASS
    assert of("exposure-declared", "Service/api", edited(exposed, closed)) is VIOLATION
    assert of("exposure-declared", "Service/api", edited(exposed, unknown)) is UNDECIDED
    assert of("exposure-declared", "Service/api", edited(closed)) is PASS


def test_two_policies_may_close_a_pod_together() -> None:
    inward = Edit("NetworkPolicy/api", ("spec", "policyTypes"), ["Ingress"])
    assert of("network-policy", DEPLOYMENT, edited(inward)) is VIOLATION
    outward = kubernetes(
        "networking.k8s.io/v1:NetworkPolicy", "outward", spec={"podSelector": {}, "policyTypes": ["Egress"]}
    )
    assert of("network-policy", DEPLOYMENT, edited(inward, outward=outward)) is PASS
    assert (
        of("network-policy", DEPLOYMENT, edited(Edit("NetworkPolicy/api", ("spec", "podSelector"), UNKNOWN)))
        is UNDECIDED
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"operator": "In", "values": ["api", "other"]}, PASS),
        ({"operator": "In", "values": ["other"]}, VIOLATION),
        ({"operator": "NotIn", "values": ["other"]}, PASS),
        ({"operator": "NotIn", "values": ["api"]}, VIOLATION),
        ({"operator": "Exists"}, PASS),
        ({"operator": "DoesNotExist"}, VIOLATION),
        ({"operator": "Guess"}, VIOLATION),
        ({"operator": "In", "values": [UNKNOWN]}, UNDECIDED),
    ],
)
def test_selectors_by_expression(expression: dict[str, Any], expected: State) -> None:
    selector = {"matchExpressions": [{"key": "app.kubernetes.io/name", **expression}]}
    assert (
        of("network-policy", DEPLOYMENT, edited(Edit("NetworkPolicy/api", ("spec", "podSelector"), selector)))
        is expected
    )
    assert of("selector-matches-pods", DEPLOYMENT, edited(Edit(DEPLOYMENT, ("spec", "selector"), selector))) is expected


def test_a_service_with_unknown_neighbours_is_decided_at_update() -> None:
    spoilt = edited(
        Edit("Service/api", ("spec", "selector"), {"app": "other"}),
        Edit(DEPLOYMENT, ("spec", "template", "metadata", "labels"), UNKNOWN),
    )
    assert of("service-selects-pods", "Service/api", spoilt) is UNDECIDED


def test_an_external_name_has_no_pods() -> None:
    spoilt = edited(Edit("Service/api", ("spec",), {"type": "ExternalName", "externalName": "db.example"}))
    assert of("service-selects-pods", "Service/api", spoilt) is PASS
    assert of("service-port", "Service/api", spoilt) is PASS


def opened(*rules: Any) -> Edit:
    return Edit("NetworkPolicy/api", ("spec", "ingress"), list(rules))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"ports": [{"port": 8080}]}], PASS),
        ([{"ports": [{"port": "http"}]}], PASS),
        ([{"ports": [{"port": 8000, "endPort": 8080}]}], PASS),
        ([{"ports": [{"protocol": "TCP"}]}], PASS),
        ([{"ports": [{"port": 9999}, {"port": 8080}]}], PASS),
        ([{"ports": [{"port": 9999}]}, {"ports": [{"port": 8080}]}], PASS),
        ([{}], PASS),
        ([{"from": []}], PASS),
        ([{"ports": [{"port": 9999}]}], VIOLATION),
        ([{"ports": [{"port": 80}]}], VIOLATION),
        ([{"ports": [{"port": "metrics"}]}], VIOLATION),
        ([{"ports": [{"port": 8081, "endPort": 9000}]}], VIOLATION),
        ([{"ports": [{"port": 8000, "endPort": 8079}]}], VIOLATION),
        ([{"ports": [{"port": 8080, "protocol": "UDP"}]}], VIOLATION),
        ([{"ports": [{"port": 9999}]}, {"from": [{"podSelector": SELECTOR}]}], VIOLATION),
        ([], VIOLATION),
        ([{"ports": [{"port": UNKNOWN}]}], UNDECIDED),
        ([{"from": UNKNOWN, "ports": [{"port": 9999}]}], VIOLATION),
        ([{"ports": UNKNOWN}, {"ports": [{"port": 8080}]}], PASS),
    ],
    ids=str,
)
def test_the_port_that_is_opened_is_the_services(rules: list[Any], expected: State) -> None:
    assert of("exposure-declared", "Service/api", edited(EXPOSED, opened(*rules))) is expected


@pytest.mark.parametrize(
    ("target", "opens", "expected"),
    [
        (8080, "http", PASS),
        ("http", 8080, PASS),
        ("8080", 8080, PASS),
        (None, 80, PASS),
        (None, 8080, VIOLATION),
        (9090, 9090, PASS),
        ("http", "metrics", VIOLATION),
        (UNKNOWN, 8080, UNDECIDED),
    ],
)
def test_a_port_is_known_by_its_name_and_by_its_number(target: Any, opens: Any, expected: State) -> None:
    leads = Edit("Service/api", ("spec", "ports", 0, "targetPort"), target)
    declared = Edit(DEPLOYMENT, PORTS, [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}])
    stack = edited(EXPOSED, leads, declared, opened({"ports": [{"port": opens}]}))
    assert of("exposure-declared", "Service/api", stack) is expected


def test_every_port_of_the_service_is_opened() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "debug", "port": 81, "targetPort": 9999}]
    two = Edit("Service/api", ("spec", "ports"), ports)
    assert of("exposure-declared", "Service/api", edited(EXPOSED, two, opened({}))) is PASS
    found = result(judged(edited(EXPOSED, two), rules=["exposure-declared"]), "exposure-declared", "Service/api")
    assert [str(each) for each in found.problems] == [
        f"spec.type: the Service is of type `NodePort`, and no NetworkPolicy opens port `9999` of Deployment/{name} to "
        "all sources; allowed: `ClusterIP`, or a NetworkPolicy that does"
        for name in ("api", "scaled")
    ]


def test_a_policy_that_speaks_of_egress_alone_opens_nothing() -> None:
    outward = Edit("NetworkPolicy/api", ("spec", "policyTypes"), ["Egress"])
    assert of("exposure-declared", "Service/api", edited(EXPOSED, outward)) is VIOLATION
