"""The NetworkPolicy of a service, its Ingress, its URL, and node ports that move from one Service to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes import core, networking

from components.kubernetes_defaults import NAME_LABEL
from components.pod import further_ports
from components.rollouts import AwaitedRollouts
from services.spec import PORT_NAME, Ingress, ServiceSpec
from slipway.state.checkpoint import ResourceState, Snapshot, resources
from slipway.values import opened

DNS_PORT = 53
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
EVERYWHERE = ("0.0.0.0/0", "::/0")
SERVICE_TYPE = "kubernetes:core/v1:Service"


def policy_spec(
    spec: ServiceSpec, callers: Sequence[str], metrics_from: str | None = None
) -> networking.v1.NetworkPolicySpecArgsDict:
    """Default deny; ingress is allowed from the callers and the pods of namespace `metrics_from`, egress to DNS, the
    services it calls and its `egress`.

    A service that is reachable from outside the cluster is open to everybody: with an Ingress on its own port only,
    with a Service of another type than ClusterIP on all ports. The port has its name and not its number, which may be
    another one in the pods of the previous release.
    https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    public = spec.has_port and (spec.ingress is not None or spec.service.type != "ClusterIP")
    port: networking.v1.NetworkPolicyPortArgsDict = {"port": PORT_NAME, "protocol": "TCP"}
    further: list[networking.v1.NetworkPolicyPortArgsDict] = [
        {"port": each.name, "protocol": each.protocol} for each in further_ports(spec)
    ]
    sources: list[networking.v1.NetworkPolicyPeerArgsDict] = [_pods_of(name) for name in callers]
    if metrics_from and spec.has_port:
        sources.append({"namespace_selector": {"match_labels": {NAMESPACE_LABEL: metrics_from}}})
    into: list[networking.v1.NetworkPolicyIngressRuleArgsDict] = []
    if public and spec.service.type != "ClusterIP":
        into = [{"ports": [port, *further]}]
    elif public:
        # An Ingress leads to the service's own port only.
        into = [{"ports": [port]}, *([{"from_": sources, "ports": further}] if sources and further else [])]
    elif sources:
        into = [{"from_": sources, "ports": [port, *further]}]
    return {
        "pod_selector": {"match_labels": {NAME_LABEL: spec.name}},
        "policy_types": ["Ingress", "Egress"],
        "ingress": into,
        "egress": _out_of(spec),
    }


def migration_policy(spec: ServiceSpec, pod_labels: Mapping[str, str]) -> networking.v1.NetworkPolicySpecArgsDict:
    """For the pods of the service's migration: no ingress; egress to DNS and to the service's `egress`."""
    return {
        "pod_selector": {"match_labels": pod_labels},
        "policy_types": ["Ingress", "Egress"],
        "egress": _out_of(spec.model_copy(update={"calls": []})),
    }


def _pods_of(name: str) -> networking.v1.NetworkPolicyPeerArgsDict:
    return {"pod_selector": {"match_labels": {NAME_LABEL: name}}}


def _out_of(spec: ServiceSpec) -> list[networking.v1.NetworkPolicyEgressRuleArgsDict]:
    dns: networking.v1.NetworkPolicyEgressRuleArgsDict = {
        "ports": [{"port": DNS_PORT, "protocol": "UDP"}, {"port": DNS_PORT, "protocol": "TCP"}]
    }
    called: list[networking.v1.NetworkPolicyEgressRuleArgsDict] = (
        [{"to": [_pods_of(name) for name in spec.calls]}] if spec.calls else []
    )
    outside: list[networking.v1.NetworkPolicyEgressRuleArgsDict] = [
        {
            "to": [{"ip_block": {"cidr": cidr}} for cidr in ([allowed.cidr] if allowed.cidr else EVERYWHERE)],
            "ports": [{"port": allowed.port, "protocol": "TCP"}],
        }
        for allowed in spec.egress
    ]
    return [dns, *called, *outside]


def ingress(spec: ServiceSpec, declared: Ingress) -> networking.v1.IngressSpecArgsDict:
    """One host and path prefix, served by the service's port."""
    backend: networking.v1.IngressBackendArgsDict = {"service": {"name": spec.name, "port": {"name": PORT_NAME}}}
    rules: dict[str, Any] = {
        "rules": [
            {
                "host": declared.host,
                "http": {"paths": [{"path": declared.path, "path_type": "Prefix", "backend": backend}]},
            }
        ]
    }
    if declared.class_name:
        rules["ingress_class_name"] = declared.class_name
    if declared.tls_secret_name:
        rules["tls"] = [{"hosts": [declared.host], "secret_name": declared.tls_secret_name}]
    return rules


def url(spec: ServiceSpec, service: core.v1.Service, rollouts: AwaitedRollouts) -> pulumi.Output[str]:
    """The service's URL: of its Ingress, of its load balancer, or of its address within the cluster."""
    if spec.ingress:
        scheme = "https" if spec.ingress.tls_secret_name else "http"
        return pulumi.Output.from_input(f"{scheme}://{spec.ingress.host}{spec.ingress.path.rstrip('/')}")
    if spec.service.type == "LoadBalancer":
        return rollouts.address(service).apply(address_url)
    return service.spec.apply(lambda found: address_url(str(found.cluster_ip)))


def address_url(host: str) -> str:
    """An IPv6 address is put in brackets: https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2"""
    return f"http://[{host}]" if ":" in host else f"http://{host}"


def wanted_ports(specs: Iterable[ServiceSpec], namespace: str) -> dict[int, str]:
    """The Service that declares each node port, as `namespace/name`."""
    return {spec.service.node_port: f"{namespace}/{spec.name}" for spec in specs if spec.service.node_port}


def declared_ports(recorded: Iterable[ResourceState]) -> dict[int, str]:
    """Like `wanted_ports`, for resources that will be declared as recorded."""
    return dict(port for each in recorded for port in _ports(each, each.inputs))


def assigned_ports(state: Snapshot) -> dict[int, str]:
    """Like `wanted_ports`, for the ports that the cluster assigned to a stack's Services, asked for or not."""
    return dict(port for each in resources(state) for port in _ports(each, {**each.inputs, **each.outputs}))


def passed_on(declared: Mapping[int, str], assigned: Mapping[int, str]) -> list[str]:
    """A problem for each declared node port that belongs to another Service, and how to solve it."""
    problems = []
    for port, name in sorted(declared.items()):
        holder = assigned.get(port, name)
        if holder == name:
            continue
        (namespace, short), (other_namespace, other_short) = name.split("/"), holder.split("/")
        other = other_short if other_namespace == namespace else f"{other_short} in namespace {other_namespace}"
        problems.append(
            f"node port {port} of {short} still belongs to {other}, and only one Service can have it; "
            f"update twice: first with {other} on another `service.nodePort`, as `service.type: ClusterIP` or removed, "
            f"and {short} without this port, then as it is now"
        )
    return problems


def _ports(resource: ResourceState, properties: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    if resource.type != SERVICE_TYPE:
        return
    known = opened(properties)
    ports = (known.get("spec") or {}).get("ports") or ()
    name = f"{known['metadata'].get('namespace', 'default')}/{known['metadata'].get('name', resource.name)}"
    yield from ((int(port["nodePort"]), name) for port in ports if port.get("nodePort"))
