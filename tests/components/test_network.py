"""NetworkPolicies open what is declared, in both address families, and shut no pod of the release before off."""

from __future__ import annotations

from typing import Any

import pytest

from components import network
from components.kinds import Microservice
from components.rollouts import AwaitedRollouts
from components.workload import WorkloadArgs
from services.spec import ServiceSpec
from slipway.state.checkpoint import stem

POLICY, DEPLOYMENT = "kubernetes:networking.k8s.io/v1:NetworkPolicy", "kubernetes:apps/v1:Deployment"
HTTP = {"port": "http", "protocol": "TCP"}


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": "web", **fields})


def test_the_port_has_its_name_so_that_another_number_shuts_no_old_pod_off() -> None:
    policies = [network.policy_spec(spec(port=port), ["caller"]) for port in (8080, 9090)]
    assert policies[0] == policies[1]
    assert policies[0]["ingress"] == [
        {"from_": [{"pod_selector": {"match_labels": {"app.kubernetes.io/name": "caller"}}}], "ports": [HTTP]}
    ]
    public = network.policy_spec(spec(ingress={"host": "shop.example"}), [])
    assert public["ingress"] == [{"ports": [HTTP]}]


def test_metrics_are_open_to_a_namespace_that_is_named_and_to_no_other() -> None:
    assert network.policy_spec(spec(), [])["ingress"] == []
    (rule,) = network.policy_spec(spec(), ["caller"], "monitoring")["ingress"]
    assert rule["from_"][1:] == [
        {"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    assert rule["ports"] == [HTTP]


def test_egress_without_a_range_is_open_in_both_address_families() -> None:
    everywhere, one = network.policy_spec(spec(egress=[{"port": 5432}, {"cidr": "fd00::/8", "port": 53}]), [])[
        "egress"
    ][1:]
    assert [each["ip_block"]["cidr"] for each in everywhere["to"]] == ["0.0.0.0/0", "::/0"]
    assert [each["ip_block"]["cidr"] for each in one["to"]] == ["fd00::/8"]


def test_a_removed_call_makes_another_policy_and_replaces_none(declare: Any) -> None:
    """The engine deletes what is declared no more at the end of an update, when all rollouts are done."""
    before, after = (declared(declare, callers=callers) for callers in (["caller"], []))
    assert stem(urn(before)) == stem(urn(after)) == urn("web")
    assert before != after
    assert declared(declare, callers=["caller"]) == before


def declared(declare: Any, callers: list[str]) -> str:
    """The name of web's NetworkPolicy, in Pulumi and in Kubernetes."""

    def program() -> None:
        Microservice("web", WorkloadArgs(spec(), "r/i@sha256:1", "n", AwaitedRollouts(None), callers=callers))

    recorded = declare(program)
    (policy,) = [each for each in recorded.resources if each.typ == POLICY]
    assert policy.inputs["metadata"]["name"] == policy.name
    order = [each.typ for each in recorded.resources]
    assert order.index(POLICY) < order.index(DEPLOYMENT), "what a pod may do is open before it starts"
    return str(policy.name)


def urn(name: str) -> str:
    return f"urn:pulumi:dev::slipway::slipway:index:Microservice${POLICY}::{name}"


@pytest.mark.parametrize(
    ("cluster_ip", "url"), [("10.96.0.7", "http://10.96.0.7"), ("fd00:10:96::7", "http://[fd00:10:96::7]")]
)
def test_an_address_of_ipv6_has_brackets(cluster_ip: str, url: str) -> None:
    assert network.address_url(cluster_ip) == url
