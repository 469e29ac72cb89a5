"""What of a drift a rollback has to take back, and what it must leave alone."""

from __future__ import annotations

from typing import Any

from slipway.changes.fields import FieldChange, Kind
from slipway.changes.summary import Operation, ResourceChange
from slipway.engine.events import Resource
from slipway.rollback.in_cluster import OutOfPlace, _declared
from slipway.state.checkpoint import Recorded

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::user-service"
BY_HAND = {URN: ("kubectl-set",)}


def changed(*paths: str, kind: Kind = "update", operation: Operation = Operation.UPDATE) -> ResourceChange:
    fields = tuple(FieldChange(path, kind, "1", "2") for path in paths)
    return ResourceChange(Resource(URN), operation, "user-service", fields)


def recorded(**more: Any) -> dict[str, Recorded]:
    return {URN: Recorded({"urn": URN, "type": "kubernetes:apps/v1:Deployment", "custom": True, **more})}


def taken_back(change: ResourceChange, state: dict[str, Recorded], by: Any = BY_HAND) -> list[str]:
    return OutOfPlace(tuple(_declared([change], state, by))).lines()


def test_a_declared_field_that_somebody_changed() -> None:
    assert taken_back(changed("spec.replicas"), recorded()) == ["Deployment user-service: spec.replicas"]


def test_an_object_that_is_gone_whoever_deleted_it() -> None:
    gone = changed(operation=Operation.DELETE)
    assert taken_back(gone, recorded(), {}) == ["Deployment user-service: gone"]


def test_what_was_added_beside_it_stays() -> None:
    assert taken_back(changed("spec.template.spec.containers[0].env", kind="add"), recorded()) == []


def test_what_no_person_changed_would_be_changed_again() -> None:
    assert taken_back(changed("spec.template.spec.containers[0].image"), recorded(), {}) == []


def test_what_the_resource_ignores_is_not_its_own() -> None:
    state = recorded(ignoreChanges=["spec.replicas", "metadata.labels"])
    assert taken_back(changed("spec.replicas", 'metadata.labels["a.b/c"]', "metadata.labels.team"), state) == []
    assert taken_back(changed("spec.replicasMore"), state) == ["Deployment user-service: spec.replicasMore"]


def test_an_object_whose_update_failed_is_updated_anyway_while_it_is_there() -> None:
    state = recorded(initErrors=["it never became ready"])
    assert taken_back(changed("spec.replicas"), state) == []
    assert taken_back(changed(operation=Operation.DELETE), state) == ["Deployment user-service: gone"]
