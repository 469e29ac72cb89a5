"""What of a drift a rollback has to take back, what it only names, and what is none of it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.cluster.drift import Drift
from slipway.engine.events import Urn
from slipway.rollback.proof import ClusterDifference, compared_with
from slipway.state.checkpoint import ResourceState
from slipway.state.difference import Difference, FieldChange, Kind, Operation, ResourceChange

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::user-service"


def changed(*paths: str, kind: Kind = "update", operation: Operation = Operation.UPDATE) -> ResourceChange:
    fields = tuple(FieldChange(path, kind, "1", "2") for path in paths)
    return ResourceChange(Urn(URN), operation, "user-service", fields)


def recorded(**more: Any) -> dict[str, ResourceState]:
    return {URN: ResourceState({"urn": URN, "type": "kubernetes:apps/v1:Deployment", "custom": True, **more})}


def compare(change: ResourceChange, state: dict[str, ResourceState], *services: str, **drift: Any) -> ClusterDifference:
    return compared_with(state, Drift(Difference((change,), True), **{"changed_by": {}, **drift}), services)


@pytest.mark.parametrize("by", [{}, {URN: ("kubectl-set",)}])
def test_a_declared_field_that_differs_whoever_wrote_it(by: Any) -> None:
    """An update that was cut off writes as the program's own manager does."""
    found = compare(changed("spec.replicas"), recorded(), changed_by=by)
    assert found.lines() == ["Deployment user-service: spec.replicas"]
    assert found.by_others() == ("Deployment user-service" if by else "")


def test_an_object_that_is_gone() -> None:
    found = compare(changed(operation=Operation.DELETE), recorded())
    assert found.lines() == ["Deployment user-service: gone"]
    assert found.by_others() == "Deployment user-service"


def test_what_was_added_beside_it_is_named_and_is_no_difference() -> None:
    path = "spec.template.spec.containers[0].env"
    found = compare(changed(path, kind="add"), recorded())
    assert not found
    assert found.undeclared == (f"Deployment user-service: {path}",)


def test_an_object_of_this_project_that_no_state_has_is_named() -> None:
    found = compare(changed(operation=Operation.CREATE), {})
    assert not found
    assert found.unknown == ("Deployment user-service",)


def test_an_object_of_which_only_the_state_has_the_new_inputs_is_looked_at() -> None:
    """The provider would take it for unchanged."""
    inputs = {"spec": {"replicas": 1}}
    nothing = Drift(Difference((), True), {})
    half = recorded(inputs=inputs, outputs={"__inputs": {"spec": {"replicas": 2}}})
    assert compared_with(half, nothing, ()).lines() == ["Deployment user-service: partly recorded"]
    assert not compared_with(recorded(inputs=inputs, outputs={"__inputs": inputs}), nothing, ())


def test_what_the_resource_ignores_is_not_its_own() -> None:
    state = recorded(ignoreChanges=["spec.replicas", "metadata.labels"])
    assert not compare(changed("spec.replicas", 'metadata.labels["a.b/c"]', "metadata.labels.team"), state)
    assert compare(changed("spec.replicasMore"), state).lines() == ["Deployment user-service: spec.replicasMore"]


def test_other_services_do_not_count_where_some_are_named() -> None:
    assert not compare(changed("spec.replicas"), recorded(), "order-service")
    assert compare(changed("spec.replicas"), recorded(), "user-service")


def test_a_rollout_that_is_not_complete_is_named() -> None:
    live = {"metadata": {"generation": 2}, "spec": {"replicas": 1}}
    counts = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}
    found = compare(changed(), recorded(), live={URN: {**live, "status": counts}})
    assert found.incomplete == ("user-service",)
    found = compare(changed(), recorded(), live={URN: {**live, "status": {**counts, "replicas": 1}}})
    assert found.incomplete == ()
