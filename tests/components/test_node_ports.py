"""Node ports that one Service gives to another are refused, with the two updates that do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import environment
from components.environment import EnvironmentArgs
from components.network import assigned_ports, declared_ports, passed_on, wanted_ports
from services.catalog import Service
from services.spec import ServiceSpec
from slipway.state.checkpoint import resources

STACK = "urn:pulumi:dev::slipway::"


def state(ports: dict[str, tuple[int | None, int]], namespace: str = "shop", **more: Any) -> dict[str, Any]:
    """Services by name: the node port that each declares, and the one that it has."""
    return {
        "resources": [
            {
                "urn": f"{STACK}kubernetes:core/v1:Service::{name}",
                "type": "kubernetes:core/v1:Service",
                "custom": True,
                "id": f"{namespace}/{name}",
                "inputs": _service(name, namespace, declared),
                "outputs": _service(name, namespace, given),
                **more,
            }
            for name, (declared, given) in ports.items()
        ]
    }


def _service(name: str, namespace: str, port: int | None) -> dict[str, Any]:
    ports = [{"port": 80, **({"nodePort": port} if port else {})}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports}}


def spec(name: str, port: int | None = None) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": name, "service": {"type": "NodePort", "nodePort": port} if port else {}})


BOTH = state({"a": (30001, 30001), "b": (30002, 30002)})


@pytest.mark.parametrize(
    ("specs", "assigned", "refused"),
    [
        ([spec("a", 30001), spec("b", 30002)], BOTH, []),
        ([spec("a", 30003), spec("b", 30004)], BOTH, []),
        ([spec("a", 30002), spec("b", 30001)], BOTH, [(30001, "b", "a"), (30002, "a", "b")]),
        ([spec("a"), spec("b", 30001)], BOTH, [(30001, "b", "a")]),
        ([spec("b", 30001)], BOTH, [(30001, "b", "a")]),
        ([spec("b", 30009)], state({"a": (None, 30009)}), [(30009, "b", "a")]),
        ([spec("a", 30001)], state({"a": (30001, 30001)}, namespace="old"), [(30001, "a", "a in namespace old")]),
        ([spec("b", 30001)], state({"a": (30001, 30001)}, delete=True), []),
        ([spec("a", 30001)], {}, []),
    ],
)
def test_a_port_that_another_service_has_is_refused(
    specs: list[ServiceSpec], assigned: dict[str, Any], refused: list[tuple[int, str, str]]
) -> None:
    problems = passed_on(wanted_ports(specs, "shop"), assigned_ports(assigned))
    assert len(problems) == len(refused)
    for problem, (port, name, holder) in zip(problems, refused, strict=True):
        assert problem.startswith(
            f"node port {port} of {name} still belongs to {holder}, and only one Service can have it"
        )
        assert f"update twice: first with {holder} on another `service.nodePort`" in problem


def test_a_rollback_over_a_swap_is_refused_too() -> None:
    before = state({"a": (30002, 30002), "b": (30001, 30001)})
    assert len(passed_on(declared_ports(resources(before)), assigned_ports(BOTH))) == 2
    assert passed_on(declared_ports(resources(BOTH)), assigned_ports(BOTH)) == []


def test_the_program_refuses_it_before_anything_is_declared(declare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    services = tuple(Service(each, Path("services/x")) for each in (spec("a", 30002), spec("b", 30001)))
    monkeypatch.setattr(environment, "load", lambda **_: services)
    monkeypatch.setattr(environment, "present_state", lambda: BOTH)
    with pytest.raises(
        pulumi.RunError, match=r"Configuration error:\n  node port 30001 of b still .*\n  node port 30002"
    ):
        declare(EnvironmentArgs.from_config, config={"slipway:namespace": "shop"})
