"""An object that a failed update was about to remove is taken back when it is wanted again."""

from __future__ import annotations

import copy
from typing import Any

from slipway.deploy.pending_replacements import collisions, replacing, reverted
from slipway.engine.events import Failed, Started, Urn

PREFIX = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes"
MAP = f"{PREFIX}:core/v1:ConfigMap::user-service"
DEPLOYMENT = f"{PREFIX}:apps/v1:Deployment::user-service"
OLD, NEW = "slipway-dev/user-service-a", "slipway-dev/user-service-b"


def begun(urn: str, name: str, operation: str = "create-replacement") -> Started:
    return Started(0, Urn(urn), operation, True, {"metadata": {"namespace": "slipway-dev", "name": name}})


def state() -> dict[str, Any]:
    return {
        "manifest": {},
        "resources": [
            {"urn": MAP, "id": NEW, "inputs": {"data": {"A": "2"}}},
            {"urn": DEPLOYMENT, "id": "slipway-dev/user-service", "dependencies": [MAP]},
            {"urn": MAP, "id": OLD, "inputs": {"data": {"A": "1"}}, "delete": True},
        ],
    }


def test_what_could_not_be_created_is_known_by_its_id() -> None:
    events = [begun(MAP, "user-service-a"), Failed(1, Urn(MAP), "create-replacement", True)]
    assert collisions(events) == {MAP: OLD}


def test_what_a_preview_would_make_anew_is_known_by_its_id_too() -> None:
    preview = [begun(MAP, "user-service-a"), begun(DEPLOYMENT, "user-service", "update")]
    assert replacing(preview) == {MAP: OLD}
    assert collisions(preview) == {}


def test_other_failures_are_no_collisions() -> None:
    update = [begun(DEPLOYMENT, "user-service", "update"), Failed(1, Urn(DEPLOYMENT), "update", True)]
    assert collisions([begun(MAP, "user-service-a"), *update]) == {}


def test_the_two_change_places() -> None:
    before = state()
    unchanged = copy.deepcopy(before)
    after = reverted(before, {MAP: OLD})
    assert before == unchanged
    assert after is not None
    assert after["resources"] == [
        {"urn": MAP, "id": NEW, "inputs": {"data": {"A": "2"}}, "delete": True},
        {"urn": MAP, "id": OLD, "inputs": {"data": {"A": "1"}}},
        {"urn": DEPLOYMENT, "id": "slipway-dev/user-service", "dependencies": [MAP]},
    ]
    assert after["manifest"] == {}


def test_of_several_that_wait_for_deletion_the_wanted_one_is_taken() -> None:
    older = state()
    older["resources"].append({"urn": MAP, "id": "slipway-dev/user-service-0", "delete": True})
    after = reverted(older, {MAP: "slipway-dev/user-service-0"})
    assert after is not None
    marked = {raw["id"] for raw in after["resources"] if raw.get("delete")}
    assert marked == {OLD, NEW}


def test_what_is_there_under_that_id_already_stays() -> None:
    """The other one stands for the same object: exchanged, it would be deleted."""
    both = state()
    both["resources"][0]["id"] = OLD
    assert reverted(both, {MAP: OLD}) is None


def test_a_name_that_somebody_else_has_taken_stays_a_failure() -> None:
    assert reverted(state(), {MAP: "slipway-dev/user-service-c"}) is None
    assert reverted(state(), {f"{MAP}-other": OLD}) is None


def test_each_stands_behind_what_it_needed_in_its_own_time() -> None:
    """The engine refuses a state in which a dependency comes after what depends on it, marked or not."""
    provider, map_of_the_failed = "urn:pulumi:dev::slipway::pulumi:providers:kubernetes::kubernetes", f"{MAP}-ba10f276"
    after = reverted(
        {
            "resources": [
                {"urn": provider, "id": "1", "delete": True},
                {"urn": DEPLOYMENT, "id": OLD, "provider": f"{provider}::2", "dependencies": [MAP], "delete": True},
                {"urn": map_of_the_failed, "id": "slipway-dev/user-service-ba10f276"},
                {"urn": DEPLOYMENT, "id": NEW, "provider": f"{provider}::1", "dependencies": [map_of_the_failed]},
                {"urn": MAP, "id": "slipway-dev/user-service"},
                {"urn": provider, "id": "2"},
            ]
        },
        {DEPLOYMENT: OLD},
    )
    assert after is not None
    order = [(raw["urn"], raw.get("id"), bool(raw.get("delete"))) for raw in after["resources"]]
    assert order.index((map_of_the_failed, "slipway-dev/user-service-ba10f276", False)) < order.index(
        (DEPLOYMENT, NEW, True)
    )
    assert order.index((provider, "1", True)) < order.index((DEPLOYMENT, NEW, True))
    wanted = order.index((DEPLOYMENT, OLD, False))
    assert order.index((MAP, "slipway-dev/user-service", False)) < wanted
    assert order.index((provider, "2", False)) < wanted
    assert len(order) == 6
