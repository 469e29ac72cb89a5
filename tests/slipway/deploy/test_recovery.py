"""How a state is repaired after an engine was killed, or an update failed before it had replaced an object."""

from __future__ import annotations

import copy
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from slipway.deploy import preparation
from slipway.deploy.preparation import (
    INIT_ERRORS,
    PENDING,
    UNSURE,
    collisions,
    recover,
    replaced_objects,
    unknown_creations,
    unsettled,
    with_replacements_reverted,
)
from slipway.engine.events import Failed, Started, Urn
from slipway.errors import SlipwayError
from slipway.state.checkpoint import is_settled
from tests.slipway.opened import stack_in
from tests.slipway.states import STACK, find, named_by_service, urn, without

DEPLOYMENT, CONFIG_MAP = "apps/v1:Deployment", "core/v1:ConfigMap"
IMAGE = f"{STACK}slipway:index:ServiceImage$docker-build:index:Image::user-service"


def under_way(state: dict[str, Any], operation: str, resource: dict[str, Any]) -> None:
    state.setdefault(PENDING, []).append({"type": operation, "resource": resource})


def begun(resource: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The resource as it is recorded while it is being made: no id and no outputs yet."""
    return {**{key: each for key, each in resource.items() if key not in ("id", "outputs")}, **more}


def settle(state: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settled state without its marks, and what they are on."""
    settled = copy.deepcopy(dict(preparation.settle_pending_operations(state)))
    marked = unsettled(settled)
    for each in settled["resources"]:
        if UNSURE in each.get(INIT_ERRORS, ()):
            assert each.pop(INIT_ERRORS) == [UNSURE]
    return settled, marked


def of(state: Any, urn_: str) -> list[dict[str, Any]]:
    return [each for each in state["resources"] if each["urn"] == urn_]


@pytest.mark.parametrize(
    ("layout", "lock"), [("version: 1", "organization/slipway/dev"), ("version: 1", ""), ("version: 0", "dev")]
)
def test_what_is_under_way_is_left_to_whoever_does_it(tmp_path: Path, first: Any, *, layout: str, lock: str) -> None:
    """In a bucket too, where nobody asks for the lock before."""
    under_way(first, "updating", find(first, DEPLOYMENT, "user-service"))
    root = tmp_path / ".pulumi"
    state = root / "stacks" / ("slipway/dev.json" if layout == "version: 1" else "dev.json")
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"version": 3, "checkpoint": {"latest": first}}))
    (root / "meta.yaml").write_text(layout)
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    if lock:
        (root / "locks" / lock).mkdir(parents=True)
        (root / "locks" / lock / "0.json").write_text("{}")
    stack = stack_in(tmp_path, variables={"PATH": ""})
    with nullcontext() if lock else pytest.raises(SlipwayError, match="`pulumi` was not found"):
        recover(stack, lambda _: None)


def test_a_state_in_order_stays_as_it_is(first: Any) -> None:
    before = copy.deepcopy(first)
    assert settle(first) == (before, [])


def test_a_new_object_is_taken_in_under_the_id_it_would_have(first: Any) -> None:
    made = find(first, DEPLOYMENT, "user-service")
    without(first, made["urn"])
    under_way(first, "creating", begun(made))
    settled, unsettled = settle(first)
    assert unsettled == [made["urn"]]
    (adopted,) = of(settled, made["urn"])
    assert adopted["id"] == "slipway-dev/user-service"
    assert adopted["inputs"] == made["inputs"]
    assert not adopted.get("delete")
    assert PENDING not in settled


def test_what_it_hangs_on_comes_before_it(first: Any) -> None:
    """The engine refuses a state in which a resource comes before its parent or what it depends on."""
    made = find(first, DEPLOYMENT, "order-service")
    without(first, made["urn"])
    under_way(first, "creating", begun(made))
    settled, _ = settle(first)
    order = [each["urn"] for each in settled["resources"]]
    assert all(order.index(each) < order.index(made["urn"]) for each in (*made["dependencies"], made["parent"]))


def test_an_object_of_no_namespace_goes_by_its_name(first: Any) -> None:
    namespace = next(each for each in first["resources"] if each["type"] == "kubernetes:core/v1:Namespace")
    without(first, namespace["urn"])
    under_way(first, "creating", begun(namespace))
    settled, unsettled = settle(first)
    assert unsettled == [namespace["urn"]]
    assert of(settled, namespace["urn"])[0]["id"] == "slipway-dev"


def test_a_half_made_replacement_is_left_to_be_deleted_and_the_old_one_stays(first: Any, second: Any) -> None:
    first, second = named_by_service(first), named_by_service(second)
    old, new = (find(state, CONFIG_MAP, "user-service") for state in (first, second))
    assert old["id"] != new["id"]
    under_way(first, "creating", begun(new))
    settled, unsettled = settle(first)
    assert unsettled == [old["urn"]]
    kept, replacement = of(settled, old["urn"])
    assert kept == old
    assert (replacement["id"], replacement["delete"]) == (new["id"], True)


@pytest.mark.parametrize("operation", ["updating", "deleting"])
def test_what_was_there_is_looked_at_and_kept(first: Any, operation: str) -> None:
    there = find(first, DEPLOYMENT, "user-service")
    before = copy.deepcopy(first["resources"])
    under_way(first, operation, {**there, "inputs": {}})
    settled, unsettled = settle(first)
    assert unsettled == [there["urn"]]
    assert settled["resources"] == before


def test_what_waits_to_be_deleted_goes_on_waiting(first: Any, second: Any) -> None:
    """Replaced, and killed while the old one was being deleted: the next update deletes it again."""
    old = {**find(first, CONFIG_MAP, "user-service"), "delete": True}
    second["resources"].append(old)
    under_way(second, "deleting", old)
    settled, _ = settle(second)
    assert old in settled["resources"]
    assert len(settled["resources"]) == len(second["resources"])


def test_what_is_made_anew_beside_one_that_waits_to_be_deleted_stays(first: Any, second: Any) -> None:
    """Killed while making what an earlier update had begun to remove."""
    first, second = named_by_service(first), named_by_service(second)
    old, new = find(first, CONFIG_MAP, "user-service"), find(second, CONFIG_MAP, "user-service")
    old["delete"] = True
    under_way(first, "creating", begun(new))
    settled, unsettled = settle(first)
    assert unsettled == [new["urn"]]
    assert [(each["id"], each.get("delete", False)) for each in of(settled, new["urn"])] == [
        (old["id"], True),
        (new["id"], False),
    ]


def test_an_image_under_way_is_built_again(first: Any) -> None:
    image = next(each for each in first["resources"] if each["urn"] == IMAGE)
    without(first, IMAGE)
    under_way(first, "creating", begun(image))
    settled, unsettled = settle(first)
    assert unsettled == []
    assert of(settled, IMAGE) == []


def test_the_same_operation_twice_is_one_resource(first: Any) -> None:
    made = find(first, DEPLOYMENT, "user-service")
    without(first, made["urn"])
    for _ in range(2):
        under_way(first, "creating", begun(made))
    settled, unsettled = settle(first)
    assert unsettled == [made["urn"]]
    assert len(of(settled, made["urn"])) == 1


def test_a_replacement_begun_twice_is_deleted_once(first: Any, second: Any) -> None:
    first, second = named_by_service(first), named_by_service(second)
    new = find(second, CONFIG_MAP, "user-service")
    for _ in range(2):
        under_way(first, "creating", begun(new))
    settled, unsettled = settle(first)
    assert unsettled == [new["urn"]]
    assert [each.get("delete", False) for each in of(settled, new["urn"])] == [False, True]


def test_many_at_once_are_all_settled(first: Any) -> None:
    made = [find(first, kind, "user-service") for kind in (DEPLOYMENT, CONFIG_MAP)]
    changed = find(first, DEPLOYMENT, "order-service")
    for each in made:
        without(first, each["urn"])
        under_way(first, "creating", begun(each))
    under_way(first, "updating", changed)
    settled, unsettled = settle(first)
    assert set(unsettled) == {*(each["urn"] for each in made), changed["urn"]}
    assert all(len(of(settled, each)) == 1 for each in unsettled)


def test_the_given_state_is_not_changed(first: Any, second: Any) -> None:
    under_way(first, "creating", begun(find(second, CONFIG_MAP, "user-service")))
    before = copy.deepcopy(first)
    settle(first)
    assert first == before


def test_urns_are_of_the_things_meant(first: Any) -> None:
    assert find(first, DEPLOYMENT, "user-service")["urn"] == urn(DEPLOYMENT, "user-service")


def test_what_is_made_outside_of_the_cluster_is_named(first: Any) -> None:
    bucket = {"urn": f"{STACK}aws:s3:Bucket::charts", "type": "aws:s3:Bucket", "custom": True, "inputs": {}}
    image = {"urn": IMAGE, "type": "docker-build:index:Image", "custom": True, "inputs": {}}
    component = {"urn": f"{STACK}slipway:index:Microservice::a", "type": "slipway:index:Microservice"}
    for raw in (bucket, image, component, begun(find(first, DEPLOYMENT, "user-service"))):
        under_way(first, "creating", raw)
    assert unknown_creations(first) == ["Bucket charts"]


def test_what_is_replaced_under_its_own_name_stands_there_once(first: Any) -> None:
    """Deleted first, and killed while it was made again: the engine refuses a state that has it twice."""
    old = find(first, CONFIG_MAP, "user-service")
    old["pendingReplacement"] = True
    under_way(first, "creating", begun(old, pendingReplacement=False))
    settled, unread = settle(first)
    assert unread == [old["urn"]]
    (adopted,) = of(settled, old["urn"])
    assert (adopted["id"], adopted["pendingReplacement"], adopted.get("delete")) == (old["id"], False, None)


def test_what_no_refresh_reads_is_not_waited_for(first: Any) -> None:
    component = next(each for each in first["resources"] if not each.get("custom"))
    provider = next(each for each in first["resources"] if each["type"] == "pulumi:providers:kubernetes")
    for each in (component, provider):
        under_way(first, "updating", each)
    assert settle(first)[1] == []


class Backend:
    """A stack's state in a folder, and an engine that imports into it; `refresh` says how its refresh ends."""

    def __init__(self, folder: Path, state: Any, refresh: str) -> None:
        (folder / ".pulumi/stacks/slipway").mkdir(parents=True)
        (folder / ".pulumi/meta.yaml").write_text("version: 1\n")
        (folder / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
        (folder / "refresh").write_text(refresh)
        (folder / "refresh").chmod(0o755)
        self.file, self.asked = folder / ".pulumi/stacks/slipway/dev.json", folder / "asked"
        self.put(state)
        engine = folder / "pulumi"
        engine.write_text(
            "#!/usr/bin/env python3\nimport json, os, sys\n"
            f"open({str(self.asked)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
            "if sys.argv[1] == 'refresh':\n"
            f"    os.execv({str(folder / 'refresh')!r}, ['refresh'])\n"
            "state = json.load(open(sys.argv[sys.argv.index('--file') + 1]))['deployment']\n"
            f"json.dump({{'version': 3, 'checkpoint': {{'latest': state}}}}, open({str(self.file)!r}, 'w'))\n"
        )
        engine.chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        self.stack = stack_in(folder, variables={"PATH": path})

    def put(self, state: Any) -> None:
        self.file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": state}}))

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text())["checkpoint"]["latest"])

    def commands(self) -> list[str]:
        return self.asked.read_text().splitlines()


def test_a_recovery_that_is_cut_off_is_taken_up_again(tmp_path: Path, first: Any) -> None:
    """The cluster may not answer yet, after the very crash that killed the update."""
    made = find(first, DEPLOYMENT, "user-service")
    without(first, made["urn"])
    under_way(first, "creating", begun(made))
    backend = Backend(tmp_path, first, "#!/bin/sh\necho 'error: the API server does not answer' >&2\nexit 1\n")
    for _ in range(2):
        with pytest.raises(SlipwayError):
            recover(backend.stack, lambda _: None)
    assert not is_settled(backend.state()), "nobody knows yet that it is there"
    assert PENDING not in backend.state()
    refreshes = [each for each in backend.commands() if each.startswith("refresh")]
    assert len(refreshes) == 2
    assert all(f"--target {made['urn']}" in each for each in refreshes)

    (tmp_path / "refresh").write_text("#!/bin/sh\n")
    said: list[str] = []
    recover(backend.stack, said.append)
    assert said[-1] == "The state of dev is repaired: its result was read from the cluster."
    backend.put(settle(backend.state())[0])  # as a refresh leaves it
    recover(backend.stack, said.append)
    assert len([each for each in backend.commands() if each.startswith("refresh")]) == 3


PREFIX = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes"
MAP = f"{PREFIX}:core/v1:ConfigMap::user-service"
REPLACED = f"{PREFIX}:apps/v1:Deployment::user-service"
OLD, NEW = "slipway-dev/user-service-a", "slipway-dev/user-service-b"


def replacement_begun(urn: str, name: str, operation: str = "create-replacement") -> Started:
    return Started(0, Urn(urn), operation, True, {"metadata": {"namespace": "slipway-dev", "name": name}})


def half_replaced() -> dict[str, Any]:
    return {
        "manifest": {},
        "resources": [
            {"urn": MAP, "id": NEW, "inputs": {"data": {"A": "2"}}},
            {"urn": REPLACED, "id": "slipway-dev/user-service", "dependencies": [MAP]},
            {"urn": MAP, "id": OLD, "inputs": {"data": {"A": "1"}}, "delete": True},
        ],
    }


def test_what_could_not_be_created_is_known_by_its_id() -> None:
    events = [replacement_begun(MAP, "user-service-a"), Failed(1, Urn(MAP), "create-replacement", True)]
    assert collisions(events) == {MAP: OLD}


def test_what_a_preview_would_make_anew_is_known_by_its_id_too() -> None:
    preview = [replacement_begun(MAP, "user-service-a"), replacement_begun(REPLACED, "user-service", "update")]
    assert replaced_objects(preview) == {MAP: OLD}
    assert collisions(preview) == {}


def test_other_failures_are_no_collisions() -> None:
    update = [
        replacement_begun(REPLACED, "user-service", "update"),
        Failed(1, Urn(REPLACED), "update", True),
    ]
    assert collisions([replacement_begun(MAP, "user-service-a"), *update]) == {}


def test_the_two_change_places() -> None:
    before = half_replaced()
    unchanged = copy.deepcopy(before)
    after = with_replacements_reverted(before, {MAP: OLD})
    assert before == unchanged
    assert after is not None
    assert after["resources"] == [
        {"urn": MAP, "id": NEW, "inputs": {"data": {"A": "2"}}, "delete": True},
        {"urn": MAP, "id": OLD, "inputs": {"data": {"A": "1"}}},
        {"urn": REPLACED, "id": "slipway-dev/user-service", "dependencies": [MAP]},
    ]
    assert after["manifest"] == {}


def test_of_several_that_wait_for_deletion_the_wanted_one_is_taken() -> None:
    older = half_replaced()
    older["resources"].append({"urn": MAP, "id": "slipway-dev/user-service-0", "delete": True})
    after = with_replacements_reverted(older, {MAP: "slipway-dev/user-service-0"})
    assert after is not None
    marked = {raw["id"] for raw in after["resources"] if raw.get("delete")}
    assert marked == {OLD, NEW}


def test_what_is_there_under_that_id_already_stays() -> None:
    """The other one stands for the same object: exchanged, it would be deleted."""
    both = half_replaced()
    both["resources"][0]["id"] = OLD
    assert with_replacements_reverted(both, {MAP: OLD}) is None


def test_a_name_that_somebody_else_has_taken_stays_a_failure() -> None:
    assert with_replacements_reverted(half_replaced(), {MAP: "slipway-dev/user-service-c"}) is None
    assert with_replacements_reverted(half_replaced(), {f"{MAP}-other": OLD}) is None


def test_each_stands_behind_what_it_needed_in_its_own_time() -> None:
    """The engine refuses a state in which a dependency comes after what depends on it, marked or not."""
    provider, map_of_the_failed = "urn:pulumi:dev::slipway::pulumi:providers:kubernetes::kubernetes", f"{MAP}-ba10f276"
    after = with_replacements_reverted(
        {
            "resources": [
                {"urn": provider, "id": "1", "delete": True},
                {"urn": REPLACED, "id": OLD, "provider": f"{provider}::2", "dependencies": [MAP], "delete": True},
                {"urn": map_of_the_failed, "id": "slipway-dev/user-service-ba10f276"},
                {"urn": REPLACED, "id": NEW, "provider": f"{provider}::1", "dependencies": [map_of_the_failed]},
                {"urn": MAP, "id": "slipway-dev/user-service"},
                {"urn": provider, "id": "2"},
            ]
        },
        {REPLACED: OLD},
    )
    assert after is not None
    order = [(raw["urn"], raw.get("id"), bool(raw.get("delete"))) for raw in after["resources"]]
    assert order.index((map_of_the_failed, "slipway-dev/user-service-ba10f276", False)) < order.index(
        (REPLACED, NEW, True)
    )
    assert order.index((provider, "1", True)) < order.index((REPLACED, NEW, True))
    wanted = order.index((REPLACED, OLD, False))
    assert order.index((MAP, "slipway-dev/user-service", False)) < wanted
    assert order.index((provider, "2", False)) < wanted
    assert len(order) == 6
