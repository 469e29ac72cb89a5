"""Node ports that move from one Service to another. One update cannot do that: only one Service can have a port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.spec import ServiceSpec
from slipway.state.checkpoint import ResourceState, Snapshot, resources
from slipway.values import opened

SERVICE_TYPE = "kubernetes:core/v1:Service"


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
            f"node port {port} of {short} still belongs to {other}, and a cluster gives it to one Service at a time; "
            f"update twice: first with {other} on another `service.nodePort`, as `service.type: ClusterIP` or gone, "
            f"and {short} without this one, then as it is now"
        )
    return problems


def _ports(resource: ResourceState, properties: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    if resource.type != SERVICE_TYPE:
        return
    known = opened(properties)
    ports = (known.get("spec") or {}).get("ports") or ()
    name = f"{known['metadata'].get('namespace', 'default')}/{known['metadata'].get('name', resource.name)}"
    yield from ((int(port["nodePort"]), name) for port in ports if port.get("nodePort"))
