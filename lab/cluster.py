"""The objects that the lab itself keeps in its cluster, and the wait for the node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from slipway.errors import SlipwayError

from .processes import client_context
from .settings import NODE_NAME, LabSettings

_FIELD_MANAGER = "slipway-lab"
_PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Service": "/api/v1/namespaces/kube-system/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
}


@contextmanager
def client(settings: LabSettings) -> Iterator[httpx.Client]:
    context = client_context(settings.pki / "ca.crt", settings.pki / "admin.crt")
    with httpx.Client(base_url=settings.apiserver_url, verify=context, trust_env=False, timeout=30) as connection:
        yield connection


def objects(settings: LabSettings) -> list[dict[str, Any]]:
    """RBAC for CoreDNS and for API server calls to the kubelet, and the cluster's DNS Service with its endpoints."""
    return [
        _cluster_role(),
        _binding("slipway-lab:coredns", "slipway-lab:coredns", "system:coredns"),
        _binding("slipway-lab:kubelet-api", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        _dns_service(settings),
        _dns_endpoints(settings),
    ]


def _cluster_role() -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "slipway-lab:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }


def _binding(name: str, role: str, user: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _dns_service(settings: LabSettings) -> dict[str, Any]:
    port = settings.ports.dns
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        # Without a selector: the endpoint is a process of the host, in the EndpointSlice below.
        "spec": {
            "clusterIP": settings.network.dns_service,
            "ports": [
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": port},
                {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": port},
            ],
        },
    }


def _dns_endpoints(settings: LabSettings) -> dict[str, Any]:
    port = settings.ports.dns
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {
                "kubernetes.io/service-name": "kube-dns",
                "endpointslice.kubernetes.io/managed-by": _FIELD_MANAGER,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [settings.network.node_address], "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": port},
            {"name": "dns-tcp", "protocol": "TCP", "port": port},
        ],
    }


def apply_objects(settings: LabSettings) -> None:
    with client(settings) as connection:
        for document in objects(settings):
            _apply(connection, document)


def _apply(connection: httpx.Client, document: dict[str, Any]) -> None:
    path = f"{_PATHS[document['kind']]}/{document['metadata']['name']}"
    answer = connection.patch(
        path,
        params={"fieldManager": _FIELD_MANAGER, "force": "true"},
        content=json.dumps(document),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    if not answer.is_success:
        raise SlipwayError(
            f"the API server refused {document['kind']} {document['metadata']['name']}: {answer.status_code}",
            why=answer.text.strip()[-500:],
        )


def node_condition(settings: LabSettings) -> tuple[bool, str]:
    """Whether the node is Ready, and its message about that."""
    with client(settings) as connection:
        answer = connection.get(f"/api/v1/nodes/{NODE_NAME}")
    if answer.status_code != 200:
        return False, f"the node has not registered itself yet ({answer.status_code})"
    for condition in answer.json()["status"].get("conditions", []):
        if condition["type"] == "Ready":
            return condition["status"] == "True", condition.get("message", "")
    return False, "the node has not reported its state yet"


def wait_node_ready(settings: LabSettings, timeout_seconds: float = 120) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        ready, message = node_condition(settings)
        if ready:
            return
        if time.monotonic() > deadline:
            raise SlipwayError(
                f"the node {NODE_NAME} is not Ready after {timeout_seconds:.0f} s",
                why=message,
                next_step=f"see the kubelet's log: {settings.logs / 'kubelet.log'}",
            )
        time.sleep(0.2)
