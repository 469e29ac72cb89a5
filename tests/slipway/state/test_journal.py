"""The state that a journal of the engine leads to."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from slipway.state.journal import Journal, Kind


def urn(name: str, kind: str = "kubernetes:core/v1:ConfigMap") -> str:
    return f"urn:pulumi:dev::shop::{kind}::{name}"


def resource(name: str, **more: Any) -> dict[str, Any]:
    return {"urn": urn(name), "custom": True, "id": f"shop/{name}", "type": "kubernetes:core/v1:ConfigMap", **more}


NUMBERS = itertools.count(1)


def entry(kind: Kind, operation: int, /, **more: Any) -> dict[str, Any]:
    return {"version": 1, "kind": kind.value, "sequenceID": next(NUMBERS), "operationID": operation, **more}


def begun(operation: int, kind: str, raw: dict[str, Any]) -> dict[str, Any]:
    return entry(Kind.BEGIN, operation, operation={"type": kind, "resource": raw})


BASE = {
    "manifest": {"version": "v3.0.0"},
    "resources": [resource("a", inputs={"data": 1}), resource("b", dependencies=[urn("a")]), resource("c")],
    "metadata": {},
}


def after(*entries: dict[str, Any], base: dict[str, Any] = BASE) -> dict[str, Any]:
    """The state after `entries`; `base` must not change."""
    before, journal = copy.deepcopy(base), Journal(base)
    for each in entries:
        journal.add(each)
    state = journal.state()
    assert base == before
    return state


def names(state: dict[str, Any]) -> list[str]:
    return [raw["urn"].rpartition("::")[2] for raw in state["resources"]]


def test_without_entries_the_state_stays() -> None:
    assert after() == BASE


def test_what_an_operation_made_comes_first_and_its_earlier_state_goes() -> None:
    state = after(
        begun(1, "updating", resource("a")),
        entry(Kind.SUCCESS, 1, state=resource("a", inputs={"data": 2}), removeOld=0),
        entry(Kind.SUCCESS, 2, state=resource("c"), removeOld=2),
    )
    assert names(state) == ["a", "c", "b"]
    assert state["resources"][0]["inputs"] == {"data": 2}
    assert "pending_operations" not in state


@pytest.mark.parametrize("end", [(), (entry(Kind.FAILURE, 1),)], ids=["killed", "failed"])
def test_an_operation_without_an_end_is_pending(end: tuple[dict[str, Any], ...]) -> None:
    state = after(begun(1, "creating", resource("new", id="")), *end)
    assert names(state) == ["a", "b", "c"]
    pending = [each["resource"]["urn"] for each in state.get("pending_operations", ())]
    assert pending == ([] if end else [urn("new")])


def test_a_creation_of_an_earlier_update_stays_unknown() -> None:
    begun_before = [{"type": kind, "resource": resource(kind)} for kind in ("creating", "updating")]
    state = after(base={**BASE, "pending_operations": begun_before})
    assert [each["type"] for each in state["pending_operations"]] == ["creating"]


def test_a_replaced_resource_waits_for_its_deletion() -> None:
    made = (begun(1, "creating", resource("a")), entry(Kind.SUCCESS, 1, state=resource("a", id="new"), deleteOld=0))
    state = after(*made)
    assert [(raw["id"], raw.get("delete", False)) for raw in state["resources"]] == [
        ("new", False), ("shop/a", True), ("shop/b", False), ("shop/c", False),
    ]  # fmt: skip
    assert names(after(*made, entry(Kind.SUCCESS, 2, removeOld=0))) == ["a", "b", "c"]


def test_a_resource_that_is_deleted_before_its_replacement_is_made_is_marked() -> None:
    state = after(entry(Kind.SUCCESS, 1, pendingReplacementOld=1))
    assert [raw.get("pendingReplacement", False) for raw in state["resources"]] == [False, True, False]


def test_a_resource_made_in_this_update_can_be_marked_and_removed() -> None:
    made = entry(Kind.SUCCESS, 1, state=resource("new"))
    assert after(made, entry(Kind.SUCCESS, 2, deleteNew=1))["resources"][0]["delete"]
    assert after(made, entry(Kind.SUCCESS, 2, pendingReplacementNew=1))["resources"][0]["pendingReplacement"]
    assert names(after(made, entry(Kind.SUCCESS, 2, removeNew=1))) == ["a", "b", "c"]


@pytest.mark.parametrize("where", [{"removeNew": 1}, {"removeOld": 0}], ids=["made now", "made before"])
def test_registered_outputs_replace_the_resource(where: dict[str, int]) -> None:
    with_outputs = resource("a", outputs={"url": "http://a"})
    made = [entry(Kind.SUCCESS, 1, state=resource("a"), removeOld=0)] if "removeNew" in where else []
    state = after(*made, entry(Kind.OUTPUTS, 2, state=with_outputs, **where))
    assert state["resources"][0] == with_outputs
    assert len(state["resources"]) == len(BASE["resources"])


def test_a_refresh_replaces_and_removes_and_leaves_no_reference_to_what_is_gone() -> None:
    child = resource(
        "child", parent=urn("a"), propertyDependencies={"data": [urn("a"), urn("b")]}, deletedWith=urn("a")
    )
    state = after(
        entry(Kind.REFRESH_SUCCESS, 1, removeOld=0),
        entry(Kind.REFRESH_SUCCESS, 2, removeOld=2, state=resource("c", outputs={"data": 3})),
        base={**BASE, "resources": [*BASE["resources"], child]},
    )
    assert names(state) == ["b", "c", "child"]
    assert state["resources"][0]["dependencies"] == []
    assert state["resources"][1]["outputs"] == {"data": 3}
    assert state["resources"][2] == resource("child", propertyDependencies={"data": [urn("b")]})


def test_indices_count_from_the_state_that_was_built_again_after_a_refresh() -> None:
    state = after(
        entry(Kind.REFRESH_SUCCESS, 1, removeOld=0),
        entry(Kind.REBUILT_BASE_STATE, 0),
        entry(Kind.SUCCESS, 2, removeOld=0),
    )
    assert names(state) == ["c"]


def test_a_written_state_takes_the_place_of_the_one_at_the_start() -> None:
    state = after(
        entry(Kind.WRITE, 0, newSnapshot={**BASE, "resources": [resource("z")]}),
        entry(Kind.SECRETS_MANAGER, 0, secretsProvider={"type": "passphrase", "state": {"salt": "v1:x"}}),
        entry(Kind.SUCCESS, 1, state=resource("y")),
    )
    assert names(state) == ["y", "z"]
    assert state["secrets_providers"]["type"] == "passphrase"


def test_the_key_of_a_backend_that_only_served_the_engine_is_not_taken_over() -> None:
    key = {"type": "service", "state": {"url": "http://127.0.0.1:1"}}
    assert "secrets_providers" not in after(entry(Kind.SECRETS_MANAGER, 0, secretsProvider=key))


def test_references_are_to_present_urns() -> None:
    component = {
        "urn": urn("new-name", "shop:index:App"),
        "type": "shop:index:App",
        "aliases": [urn("old", "shop:index:App")],
    }
    child_type = "shop:index:App$kubernetes:core/v1:ConfigMap"
    left = resource(
        "left",
        urn=urn("left", child_type),
        parent=urn("old", "shop:index:App"),
        provider=f"{urn('old-provider', 'pulumi:providers:kubernetes')}::id",
    )
    provider = {
        "urn": urn("provider", "pulumi:providers:kubernetes"),
        "type": "pulumi:providers:kubernetes",
        "aliases": [urn("old-provider", "pulumi:providers:kubernetes")],
    }
    state = after(
        entry(Kind.SUCCESS, 1, state=component),
        entry(Kind.SUCCESS, 2, state=provider),
        base={**BASE, "resources": [left, resource("d", dependencies=[left["urn"], urn("old", "shop:index:App")])]},
    )
    made, _, moved, dependent = state["resources"]
    assert "aliases" not in made
    assert moved["parent"] == made["urn"]
    assert moved["provider"] == f"{urn('provider', 'pulumi:providers:kubernetes')}::id"
    assert dependent["dependencies"] == [moved["urn"], made["urn"]]


def test_what_only_a_later_version_can_hold_is_named() -> None:
    journal = Journal(BASE)
    assert journal.features(journal.state()) == []
    journal.add(
        entry(Kind.SUCCESS, 1, state=resource("x", resourceHooks={"before-create": ["h"]}), requiresByteString=True)
    )
    assert journal.features(journal.state()) == ["byteString", "hooks"]


def test_an_entry_that_comes_twice_counts_once() -> None:
    made = entry(Kind.SUCCESS, 1, state=resource("new"))
    assert names(after(made, made)) == ["new", "a", "b", "c"]


def test_an_unknown_kind_of_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        Journal(BASE).add({"kind": 99, "operationID": 1, "sequenceID": 1})
