"""A state that the engine refuses, or that says what is not so: the next command gets along, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e import recorded_states as states

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

CONFIG_MAP_TOO = {"env": {"LOG_LEVEL": "critical"}}
DEPLOYMENT_ALONE = {"resources": {"memory": "12Mi"}}
State = dict[str, Any]


def rewritten(project: Any, change: Callable[[State], None]) -> None:
    file = states.state_file(project)
    content = json.loads(file.read_text())
    change(content["checkpoint"]["latest"])
    file.write_text(json.dumps(content))
    file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)


def providers_last(state: State) -> None:
    """As a rollback of one service once left it."""
    state["resources"].sort(key=lambda each: each["type"] == "pulumi:providers:docker-build")


def without_providers(state: State) -> None:
    state["resources"] = [each for each in state["resources"] if not each["type"].startswith("pulumi:providers:k")]


def there_twice(state: State) -> None:
    state["resources"].append(next(each for each in state["resources"] if each["type"].endswith("v1:Service")))


@pytest.mark.thorough  # test_diagnosis.py has another damage of each kind
@pytest.mark.parametrize(
    ("damage", "command"), [(without_providers, ("rollback", "--to", "1")), (there_twice, ("up",))]
)
def test_a_state_that_the_engine_refuses_is_put_right(released: Any, damage: Any, command: tuple[str, ...]) -> None:
    require_put_right(released, damage, command)


@pytest.mark.thorough
def test_an_empty_state_is_taken_from_the_history(released: Any) -> None:
    require_taken_from_the_history(released, share=0.0)


def require_put_right(released: Any, damage: Any, command: tuple[str, ...]) -> None:
    """A state that the engine refuses."""
    before = states.object_inputs(states.present(released))
    rewritten(released, damage)
    refused = released.up()
    assert refused.code != 0
    assert "snapshot integrity failure" in refused.output or "unknown provider" in refused.output, refused.output
    name, *more = command
    done = released.slipway(name, "-s", "e2e", "--yes", *more)
    assert "The state of e2e is damaged: " in done.output, done.output
    assert "It is repaired." in done.output
    # As the first release left it, a rollback there has nothing to do.
    assert done.code == (2 if name == "rollback" else 0), done.output
    assert states.object_inputs(states.present(released)) == before


def require_taken_from_the_history(released: Any, share: float) -> None:
    """A state of which this share is left."""
    before, file = states.object_inputs(states.present(released)), states.state_file(released)
    text = file.read_text()
    file.write_text(text[: int(len(text) * share)])
    done = released.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert "The state of e2e cannot be read: e2e.json is truncated. It is kept as " in done.output
    assert states.object_inputs(states.present(released)) == before
    assert list(file.parent.glob("e2e.json.*.refused")), "what was refused is kept"


def everything(_before: State, _after: State) -> None:
    """All of the failed update is in the state."""


def nothing(before: State, after: State) -> None:
    """None of it, as where the provider's wait was cancelled."""
    after["resources"] = before["resources"]


def some(before: State, after: State) -> None:
    """Its ConfigMap, and not its Deployment."""
    deployments = {each["urn"]: each for each in before["resources"] if each["type"].endswith("v1:Deployment")}
    after["resources"] = [deployments.get(each["urn"], each) for each in after["resources"]]


def half_an_object(before: State, after: State) -> None:
    """The Deployment's new inputs beside its old outputs."""
    outputs = {each["urn"]: each.get("outputs") for each in before["resources"]}
    for each in after["resources"]:
        if each["type"].endswith("v1:Deployment"):
            each["outputs"] = outputs[each["urn"]]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("bad", "recorded", "left"),
    [
        pytest.param(CONFIG_MAP_TOO, everything, "", id="all, with a ConfigMap"),
        pytest.param(CONFIG_MAP_TOO, some, "", id="some of it"),
        pytest.param(CONFIG_MAP_TOO, nothing, "ConfigMap user-service-", id="nothing, with a ConfigMap"),
        pytest.param(DEPLOYMENT_ALONE, nothing, "", id="nothing"),
        pytest.param(DEPLOYMENT_ALONE, half_an_object, "", id="half an object"),
    ],
)
def test_a_rollback_brings_the_target_back_whatever_was_recorded(
    released: Any, bad: Any, recorded: Any, left: str
) -> None:
    """What was created and never recorded is named: no state says whether it may go."""
    number, before = states.count(released), states.latest(states.state_file(released))
    running = released.deployments()["user-service"]["spec"]["template"]
    released.configure(f"  slipway:services: {json.dumps({'user-service': bad})}\n")
    assert released.up().code != 0
    assert released.deployments()["user-service"]["spec"]["template"] != running
    rewritten(released, lambda state: recorded(before, state))
    back = released.slipway("rollback", "-s", "e2e", "--to", str(number), "--yes")
    assert back.code == 0, back.output
    named = f"and 1 object that was never recorded ({left}" if left else "recorded inputs are the same, 2 checks met"
    assert named in back.output, back.output
    assert released.deployments()["user-service"]["spec"]["template"] == running
    drift = released.slipway("drift", "-s", "e2e")
    assert (drift.code, left in drift.output) == (6 if left else 0, True), drift.output
    if left:
        name = left + back.output.partition(left)[2].partition(")")[0]
        kubectl = ("kubectl", "-n", released.namespace, "delete", *name.lower().split())
        assert released.run(*kubectl).code == 0
        assert released.slipway("drift", "-s", "e2e").code == 0


@pytest.mark.thorough
def test_what_somebody_added_beside_what_is_declared_is_named(released: Any) -> None:
    """Where the rollback has nothing to do with the object; else the provider takes away what `kubectl` has set."""
    number = states.count(released)
    released.configure("  slipway:services: {order-service: {env: {LOG_LEVEL: debug}}}\n")
    assert released.slipway("up", "-s", "e2e", "--yes").code == 0
    kubectl = ("kubectl", "-n", released.namespace, "set", "env", "deployment/user-service")
    assert released.run(*kubectl, "LOG_LEVEL=warning").code == 0
    back = released.slipway("rollback", "-s", "e2e", "--to", str(number), "--yes")
    assert back.code == 0, back.output
    assert "and 1 field that was never declared (Deployment user-service: " in back.output, back.output
