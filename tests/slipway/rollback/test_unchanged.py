"""What of a recorded state need not be declared again: what the present one has just so, and nothing depends on."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.rollback.plan import (
    RollbackPlan,
    RollbackRequest,
    declared_resources,
    plan_rollback,
    unchanged_digest,
    unchanged_resources,
)
from slipway.state.checkpoint import stem
from tests.slipway.states import find, urn

SERVICE = urn("core/v1:Service", "user-service")
DEPLOYMENT, CALLER = (urn("apps/v1:Deployment", name) for name in ("user-service", "order-service"))


def plan(then: Any, now: Any) -> RollbackPlan:
    return plan_rollback(then, now, RollbackRequest(1))


def unchanged(then: Any, now: Any) -> set[str]:
    return unchanged_resources(plan(then, now), now)


def test_all_of_the_same_state_is_unchanged_but_what_comes_first(first: Any) -> None:
    found = unchanged(first, first)
    assert {SERVICE, DEPLOYMENT, CALLER} <= found
    assert not any("pulumi:providers" in each or each.endswith("::slipway-dev") for each in found)
    assert not any("Environment::" in each or "docker-build" in each for each in found)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"spec": {"type": "NodePort"}}},
        {"dependencies": []},
        {"protect": True},
        {"parent": ""},
        {"provider": "urn:pulumi:dev::slipway::pulumi:providers:kubernetes::dev::other"},
        {"external": True},
        {"ignoreChanges": ["spec"]},
    ],
)
def test_whatever_is_declared_of_a_resource_counts(first: Any, change: dict[str, Any]) -> None:
    second = copy.deepcopy(first)
    find(first, "core/v1:Service", "user-service").update(change)
    assert SERVICE not in unchanged(first, second)
    assert urn("core/v1:Service", "order-service") in unchanged(first, second)


def test_when_it_was_written_and_what_the_cluster_said_do_not_count(first: Any) -> None:
    second = copy.deepcopy(first)
    find(second, "core/v1:Service", "user-service").update(
        modified="2031-01-01T00:00:00Z", outputs={"status": "other"}, sourcePosition="project:///main.py#1,2"
    )
    assert SERVICE in unchanged(first, second)


def test_the_outputs_of_a_component_count(first: Any) -> None:
    second = copy.deepcopy(first)
    component = next(each for each in second["resources"] if each["urn"].endswith("Microservice::user-service"))
    component["outputs"] = {"url": "http://10.0.0.9"}
    assert component["urn"] not in unchanged(first, second)


@pytest.mark.parametrize("unfinished", [{"initErrors": ["crashes"]}, {"delete": True}])
def test_after_an_update_that_did_not_come_to_its_end_nothing_is_certain(first: Any, unfinished: Any) -> None:
    second = copy.deepcopy(first)
    second["resources"].append({**find(second, "core/v1:Service", "user-service"), **unfinished})
    assert unchanged(first, second) == set()
    second = copy.deepcopy(first)
    second["pending_operations"] = [{"type": "updating", "resource": {}}]
    assert unchanged(first, second) == set()


def test_what_comes_after_something_that_moves_is_declared(first: Any) -> None:
    """The engine deletes nothing that a resource which it leaves has depended on, and all that depends on a target."""
    second = copy.deepcopy(first)
    gone = {**find(second, "core/v1:ConfigMap", "user-service")}
    gone["urn"] = f"{stem(gone['urn'])}-0badcafe"
    second["resources"].insert(len(second["resources"]) // 4, gone)
    find(second, "apps/v1:Deployment", "user-service")["dependencies"].append(gone["urn"])
    assert DEPLOYMENT in find(second, "apps/v1:Deployment", "order-service")["dependencies"], "order-service calls it"
    found = unchanged(first, second)
    assert SERVICE in found
    assert not {DEPLOYMENT, CALLER} & found


def test_what_a_declared_resource_needs_is_declared_with_it(first: Any) -> None:
    second = copy.deepcopy(first)
    find(second, "apps/v1:Deployment", "user-service")["inputs"]["spec"]["replicas"] = 7
    whole = plan(first, second)
    declared = {each.urn for each in declared_resources(whole, unchanged(first, second))}
    assert DEPLOYMENT in declared
    images = {each.urn for each in whole.resources if "docker-build" in each.urn}
    assert set(find(first, "apps/v1:Deployment", "user-service")["dependencies"]) <= declared | images
    assert SERVICE not in declared
    assert CALLER in declared, "or the engine would delete it, which depends on a target"


def test_the_digest_is_of_just_these_resources() -> None:
    assert unchanged_digest(["a", "b"]) == unchanged_digest(["b", "a"])
    assert (
        len({unchanged_digest([]), unchanged_digest(["a"]), unchanged_digest(["a", "b"]), unchanged_digest(["ab"])})
        == 4
    )
