"""How much of a recorded state is in another, counted input by input."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.state.checkpoint import objects
from slipway.state.difference import Comparison, compared
from tests.slipway.states import add, find, named_by_service, secret, urn, without

DEPLOYMENT = "apps/v1:Deployment"


def count(value: Any) -> int:
    """Inputs by another way than the code under test counts them: every value that has none within."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return sum(map(count, inner)) if inner else 1


def test_a_state_is_wholly_in_itself(first: Any) -> None:
    plainly = [copy.deepcopy(each) for each in first["resources"] if each["type"].startswith("kubernetes:")]
    for each in plainly:
        if each["type"].endswith(":Secret"):
            each["inputs"]["data"] = {"DATABASE_URL": ""}
    total = sum(count(each["inputs"]) for each in plainly)
    found = compared(objects(first), objects(first))
    assert found == Comparison(total, total, ())
    assert str(found) == f"{total}/{total}"
    assert total > 100


def test_providers_components_and_images_do_not_count(first: Any) -> None:
    before = compared(objects(first), objects(first)).total
    first["resources"] = [each for each in first["resources"] if each["type"].startswith("kubernetes:")]
    assert compared(objects(first), objects(first)).total == before


def test_what_is_named_by_another_content_is_another_object(first: Any, second: Any) -> None:
    then, now = (find(state, "core/v1:ConfigMap", "user-service") for state in (first, second))
    found = compared(objects(first), objects(second)).differences
    lost = [each for each in found if each.startswith(f"ConfigMap {then['inputs']['metadata']['name']}: ")]
    assert len(lost) == count(then["inputs"])
    assert f"ConfigMap {now['inputs']['metadata']['name']}: exists and should not" in found


def test_every_difference_is_named_and_no_value_shown(first: Any, second: Any) -> None:
    first, second = named_by_service(first), named_by_service(second)
    found = compared(objects(first), objects(second))
    text = "\n".join(found.differences)
    assert "Deployment user-service: spec.replicas" in found.differences
    assert "ConfigMap user-service: data.LOG_LEVEL" in found.differences
    assert "Secret user-service: data.DATABASE_URL" in found.differences
    assert "HorizontalPodAutoscaler order-service: exists and should not" in found.differences
    assert found.total - found.equal == len([each for each in found.differences if "should not" not in each])
    assert "people.db" not in text
    assert "users.db" not in text
    assert "debug" not in text


def test_a_missing_object_loses_all_its_inputs(first: Any, second: Any) -> None:
    gone = objects(second).pop(urn("core/v1:Service", "order-service"))
    without(second, gone.urn)
    found = compared(objects(first), objects(second))
    lost = [each for each in found.differences if each.startswith("Service order-service: ")]
    assert len(lost) == count(gone.inputs)


def test_more_than_was_recorded_is_a_difference_too(first: Any) -> None:
    other = copy.deepcopy(first)
    find(other, DEPLOYMENT, "user-service")["inputs"]["spec"]["paused"] = False
    found = compared(objects(first), objects(other))
    assert found.differences == ("Deployment user-service: spec.paused",)
    assert found.equal == found.total


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({"a": {}}, {"a": []}),
        ({"a": None}, {}),
        ({"a": {}}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a.b": 1}, {"a": {"b": 1}}),
        ({"a[0]": 1}, {"a": [1]}),
        ({"a": secret("x")}, {"a": secret("y")}),
        ({"a": secret({"b": 1})}, {"a": secret({"b": 2})}),
    ],
)
def test_what_is_not_the_same_is_a_difference(first: Any, then: Any, now: Any) -> None:
    other = copy.deepcopy(first)
    add(first, "core/v1:ConfigMap", "a", inputs=then)
    add(other, "core/v1:ConfigMap", "a", inputs=now)
    for one, two in ((first, other), (other, first)):
        assert compared(objects(one), objects(two)).differences, (then, now)


def test_the_same_secret_is_the_same_whether_or_not_it_was_marked(first: Any) -> None:
    """What a rotation of the key or a refresh does to a state is no change of the cluster's."""
    other = copy.deepcopy(first)
    add(first, "core/v1:ConfigMap", "a", inputs={"data": secret({"b": "1"})})
    add(other, "core/v1:ConfigMap", "a", inputs={"data": {"b": "1"}})
    assert not compared(objects(first), objects(other)).differences


def test_whole_numbers_are_the_same_however_they_are_written(first: Any) -> None:
    other = copy.deepcopy(first)
    add(first, "core/v1:ConfigMap", "a", inputs={"replicas": 2})
    add(other, "core/v1:ConfigMap", "a", inputs={"replicas": 2.0})
    assert not compared(objects(first), objects(other)).differences
