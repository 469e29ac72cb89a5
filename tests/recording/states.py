"""States of a stack that the engine wrote: two releases, and an update whose rollout failed after them."""

from __future__ import annotations

import json
from typing import Any

from tests.recording.workspace import CHECKOUT, STACK, Workspace, workspace

RECORDING = CHECKOUT / "tests/slipway/recorded/states.json"
NAMESPACE = "slipway-recorded-states"
USER_SERVICE, ORDER_SERVICE = "services/user_service/service.yaml", "services/order_service/service.yaml"
# Times, and places in the program of the machine that recorded.
NOT_KEPT = ("created", "modified", "sourcePosition", "stackTrace")


def record() -> None:
    states = {}
    with workspace(NAMESPACE, Workspace) as made:
        made.up()
        states["first"] = _state(made)
        _second(made)
        made.up()
        states["second"] = _state(made)
        made.edit(USER_SERVICE, "LOG_LEVEL: debug", "LOG_LEVEL: warning")
        made.edit(USER_SERVICE, "memory: 128Mi", "memory: 12Mi")
        made.up(fails_with="limit of 12Mi")
        states["failed"] = _state(made)
    text = ",\n".join(f'"{name}": {_lines(state)}' for name, state in states.items())
    RECORDING.write_text(f"{{\n{text}\n}}\n")


def _second(made: Workspace) -> None:
    made.edit(USER_SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: debug")
    made.edit(USER_SERVICE, "replicas: 1", "replicas: 2")
    made.config("--secret", "user-service:DATABASE_URL", "sqlite:////data/people.db")
    made.edit(ORDER_SERVICE, "replicas: 1", "autoscaling: {minReplicas: 1, maxReplicas: 3}")


def _state(made: Workspace) -> list[dict[str, Any]]:
    """The resources, secrets opened (they are none), under the names that tests call things by."""
    text = made.run("stack", "export", "--stack", STACK, "--show-secrets").output
    replaced = {
        made.registry: "registry.example/team",
        made.base_image: "registry.example/base/python:1",
        f"http://{made.lab_registry}": "http://registry.example",
        made.engine.environment["KUBECONFIG"]: "kubeconfig",
        made.namespace: "slipway-dev",
    }
    for ours, theirs in replaced.items():
        text = text.replace(ours, theirs)
    resources = json.loads(made.masked(text))["deployment"]["resources"]
    return [_reduced(each) for each in resources]


def _reduced(resource: dict[str, Any]) -> dict[str, Any]:
    """Without the outputs of what a provider made, which repeat the inputs and name the cluster's objects."""
    made = resource.get("custom") and not resource["type"].startswith("pulumi:providers:")
    return {key: each for key, each in resource.items() if key not in (*NOT_KEPT, *(("outputs",) if made else ()))}


def _lines(state: list[dict[str, Any]]) -> str:
    return '{"resources": [\n' + ",\n".join(json.dumps(each, sort_keys=True) for each in state) + "\n]}"
