"""Finds, makes and alters resources of a recorded state."""

from __future__ import annotations

import json
from typing import Any

from slipway.state.checkpoint import ResourceState, stem
from slipway.state.kubernetes_objects import directed
from slipway.values import SECRET_SIGNATURE, SIGNATURE

STACK = "urn:pulumi:dev::slipway::"
STATEFUL_SET, CLAIM = "apps/v1:StatefulSet", "core/v1:PersistentVolumeClaim"


def urn(kind: str, service: str) -> str:
    """Of a Kubernetes object of a service: `urn("apps/v1:Deployment", "user-service")`."""
    return f"{STACK}slipway:index:Microservice$kubernetes:{kind}::{service}"


def find(state: dict[str, Any], kind: str, service: str) -> dict[str, Any]:
    """The resource as the engine wrote it, whatever content names it; changing it changes the state."""
    (found,) = [each for each in state["resources"] if stem(each["urn"]) == urn(kind, service)]
    result: dict[str, Any] = found
    return result


def named_by_service(state: dict[str, Any]) -> dict[str, Any]:
    """As an older program left it, with no hash in the URNs of ConfigMaps and Secrets: others replace them."""
    text = json.dumps(state)
    for each in state["resources"]:
        text = text.replace(json.dumps(each["urn"]), json.dumps(stem(each["urn"])))
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def add(state: dict[str, Any], kind: str, service: str, spec: dict[str, Any] | None = None, **more: Any) -> str:
    """The URN of a new object of a service."""
    made = {
        "urn": urn(kind, service),
        "type": f"kubernetes:{kind}",
        "custom": True,
        "id": f"slipway-dev/{service}",
        "parent": f"{STACK}slipway:index:Microservice::{service}",
        "inputs": {"metadata": {"name": service, "namespace": "slipway-dev"}, "spec": spec or {}},
        **more,
    }
    state["resources"].append(dict(directed(ResourceState(made)).raw))
    return str(made["urn"])


def remove(state: dict[str, Any], service: str) -> None:
    """Everything of a service."""
    state["resources"] = [each for each in state["resources"] if service not in each["urn"].rsplit("::", 1)[-1]]


def without(state: dict[str, Any], gone: str) -> None:
    state["resources"] = [each for each in state["resources"] if each["urn"] != gone]


def secret(value: Any) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "plaintext": json.dumps(value)}


def sealed(text: str) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "ciphertext": text}
