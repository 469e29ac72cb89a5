"""A state that the engine refuses is known as such, and put right so that the engine accepts it."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.engine.pulumi_cli import Pulumi
from slipway.paths import toolchain_environment_file
from slipway.state.integrity import in_order, problems, repaired

STATE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "recorded" / "states.json").read_text())["second"]


def resource(state: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in state["resources"] if each["urn"].endswith(name))
    return found


def moved_last(state: dict[str, Any], name: str) -> None:
    state["resources"].sort(key=lambda each: each["urn"].endswith(name))


def removed(state: dict[str, Any], name: str) -> None:
    state["resources"].remove(resource(state, name))


DEPLOYMENT = "apps/v1:Deployment::order-service"
(CONFIG_MAP,) = (each["urn"] for each in STATE["resources"] if "core/v1:ConfigMap::user-service-" in each["urn"])
KUBERNETES = "pulumi:providers:kubernetes::dev"
MICROSERVICE = "slipway:index:Microservice::user-service"
BROKEN: dict[str, Any] = {
    "a provider that comes later": lambda state: moved_last(state, KUBERNETES),
    "a provider that is missing": lambda state: removed(state, KUBERNETES),
    "a provider without an id": lambda state: resource(state, KUBERNETES).pop("id"),
    "another provider's id": lambda state: resource(state, DEPLOYMENT).update(
        provider=resource(state, DEPLOYMENT)["provider"][:-1] + "x"
    ),
    "a parent that comes later": lambda state: moved_last(state, MICROSERVICE),
    "a parent that is missing": lambda state: removed(state, MICROSERVICE),
    "a dependency that comes later": lambda state: moved_last(state, CONFIG_MAP),
    "a dependency that is missing": lambda state: removed(state, CONFIG_MAP),
    "a property's dependency": lambda state: resource(state, DEPLOYMENT).update(
        propertyDependencies={"spec": ["urn:pulumi:dev::slipway::kubernetes:core/v1:Secret::gone"]}
    ),
    "deleted with what is gone": lambda state: resource(state, DEPLOYMENT).update(deletedWith="urn:gone"),
    "replaced with what is gone": lambda state: resource(state, DEPLOYMENT).update(replaceWith=["urn:gone"]),
    "a resource that is there twice": lambda state: state["resources"].append(
        copy.deepcopy(resource(state, DEPLOYMENT))
    ),
    "a component with an id": lambda state: resource(state, MICROSERVICE).update(id="x"),
    "a resource without a type": lambda state: resource(state, DEPLOYMENT).update(type=""),
}


@pytest.fixture
def state() -> dict[str, Any]:
    return copy.deepcopy(STATE)


def test_a_whole_state_is_accepted_and_left_as_it_is(state: dict[str, Any]) -> None:
    assert problems(state) == []
    assert repaired(state) == state


@pytest.mark.parametrize("how", BROKEN)
def test_what_the_engine_refuses_is_known_and_put_right(state: dict[str, Any], how: str) -> None:
    BROKEN[how](state)
    assert problems(state)
    fixed = repaired(state, [STATE])
    assert problems(fixed) == []
    lost = {each["urn"] for each in STATE["resources"]} - {each["urn"] for each in fixed["resources"]}
    assert all(name.endswith(CONFIG_MAP) or how == "a resource without a type" for name in lost)


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(len(STATE["resources"]))))
def test_any_order_is_put_right_and_nothing_is_lost(order: list[int]) -> None:
    shuffled = {**STATE, "resources": [STATE["resources"][index] for index in order]}
    fixed = repaired(shuffled)
    assert problems(fixed) == []
    assert sorted(json.dumps(each) for each in fixed["resources"]) == sorted(
        json.dumps(each) for each in STATE["resources"]
    )


def test_of_two_with_one_urn_the_one_marked_for_deletion_stays_beside_the_other(state: dict[str, Any]) -> None:
    old = {**copy.deepcopy(resource(state, DEPLOYMENT)), "delete": True, "id": "slipway-dev/old"}
    state["resources"].append(old)
    assert problems(state) == []
    assert old in repaired(state)["resources"]


FIRST, *OTHERS = BROKEN


@pytest.mark.lab
@pytest.mark.parametrize("how", [FIRST, *(pytest.param(how, marks=pytest.mark.thorough) for how in OTHERS)])
def test_the_engine_agrees(state: dict[str, Any], how: str, tmp_path: Path) -> None:
    """It refuses each of these, and accepts what became of it."""
    (tmp_path / "Pulumi.yaml").write_text('{"name": "slipway", "runtime": "python"}')
    backend = tmp_path / "backend"
    backend.mkdir()
    toolchain = json.loads(toolchain_environment_file().read_text())
    path = os.pathsep.join([*toolchain["PATH"], os.environ["PATH"]])
    given = {"PATH": path, "PULUMI_CONFIG_PASSPHRASE": "x", "PULUMI_BACKEND_URL": backend.as_uri()}
    engine = Pulumi(tmp_path, {**os.environ, **given})
    assert engine.run("stack", "init", "dev").exit_code == 0

    def imported(deployment: Any) -> str:
        file = tmp_path / "state.json"
        exported = json.loads(engine.run("stack", "export", "--stack", "dev").output)["deployment"]
        whole = {**exported, "resources": deployment["resources"]}
        file.write_text(json.dumps({"version": 3, "deployment": whole}))
        done = engine.run("stack", "import", "--stack", "dev", "--file", str(file))
        return done.errors if done.exit_code else ""

    BROKEN[how](state)
    assert imported(state)
    assert imported(repaired(state, [STATE])) == ""


SIZE = 12


@given(st.permutations(range(SIZE)), st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1))))
def test_what_is_needed_comes_first(given_order: list[int], pairs: list[tuple[int, int]]) -> None:
    needed = {key: [low for low, high in pairs if high == key and low < high] for key in range(SIZE)}
    order = list(in_order(given_order, needed.__getitem__))
    assert sorted(order) == list(range(SIZE))
    for key, others in needed.items():
        assert all(order.index(other) < order.index(key) for other in others)


def test_where_nothing_is_needed_it_stays_as_it_was() -> None:
    assert list(in_order(["c", "a", "b"], lambda _: ())) == ["c", "a", "b"]


def test_a_circle_loses_nothing() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": ["a", "not there"]}
    assert sorted(in_order(needs, needs.__getitem__)) == ["a", "b", "c"]
