"""Which fields change, and that no secret is ever among what is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.masking import SECRET, UNKNOWN
from slipway.state.difference import FieldChange, StepDetails, field_changes
from slipway.values import SECRET_SIGNATURE, SIGNATURE, UNKNOWN_MARK

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SECRET_MARK = {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "[secret]"}


def changes(old: Any, new: Any, type_: str = DEPLOYMENT, **more: Any) -> tuple[FieldChange, ...]:
    fields = {"old_outputs": {}, "detailed_diff": {}, **more}
    return field_changes(StepDetails(type_, old, new, **fields))


def changed_values(old: Any, new: Any, **more: Any) -> list[tuple[str, str | None, str | None]]:
    return [(change.path, change.old, change.new) for change in changes(old, new, **more)]


def test_paths_are_the_engines() -> None:
    old = {"spec": {"containers": [{"image": "a", "ports": [80]}]}, "data": {"app.conf": "1"}}
    new = {"spec": {"containers": [{"image": "b", "ports": [80, 81]}]}, "data": {"app.conf": "2"}}
    assert changed_values(old, new) == [
        ("spec.containers[0].image", "a", "b"),
        ("spec.containers[0].ports[1]", None, "81"),
        ('data["app.conf"]', "1", "2"),
    ]


def test_added_and_removed_parts_are_one_change() -> None:
    found = changes({"a": {"b": 1}, "c": None}, {"c": None, "d": {"e": [True]}})
    assert [(change.path, change.kind, change.old, change.new) for change in found] == [
        ("a", "delete", '{"b": 1}', None),
        ("d", "add", None, '{"e": [true]}'),
    ]


def test_true_is_not_one() -> None:
    assert changed_values({"a": True}, {"a": 1}) == [("a", "true", "1")]


def test_what_is_put_in_front_of_named_items_changes_no_other() -> None:
    old = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    new = [{"name": "Z", "value": "0"}, {"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    assert changed_values({"env": old}, {"env": new}) == [
        ("env.B.value", "2", "3"),
        ("env.Z", None, '{"name": "Z", "value": "0"}'),
    ]


def test_unknown_values_are_shown_as_decided_later() -> None:
    assert changed_values({"image": "a"}, {"image": UNKNOWN_MARK}) == [("image", "a", UNKNOWN)]


def test_a_secret_whose_value_changes_is_known_from_the_provider() -> None:
    old = {"data": SECRET_MARK, "name": "a"}
    diff = {"data.TOKEN": {"diffKind": "update-replace", "inputDiff": True}}
    (found,) = changes(old, old, detailed_diff=diff, replace_keys=["data.TOKEN"])
    assert found == FieldChange("data.TOKEN", "update", SECRET, SECRET, replaces=True)


def test_a_secret_of_which_nothing_more_is_known() -> None:
    old = {"spec": {"containers": SECRET_MARK}}
    assert changed_values(old, old, diffs=["spec"]) == [("spec", SECRET, SECRET)]


def test_an_unchanged_secret_is_no_change() -> None:
    assert changed_values({"data": SECRET_MARK, "a": 1}, {"data": SECRET_MARK, "a": 2}, diffs=["a"]) == [
        ("a", "1", "2")
    ]


def test_what_moved_in_the_cluster_is_compared_with_what_was_found() -> None:
    diff = {"spec.replicas": {"diffKind": "update", "inputDiff": False}}
    live = {"spec": {"replicas": 5}}
    assert changed_values(
        {"spec": {"replicas": 2}}, {"spec": {"replicas": 2}}, old_outputs=live, detailed_diff=diff
    ) == [("spec.replicas", "5", "2")]


def test_a_difference_that_the_inputs_show_is_reported_once() -> None:
    diff = {"a.b": {"diffKind": "update", "inputDiff": True}, "c": {"diffKind": "update", "inputDiff": False}}
    assert changed_values({"a": {"b": 1}, "c": 1}, {"a": {"b": 2}, "c": 2}, detailed_diff=diff) == [
        ("a.b", "1", "2"),
        ("c", "1", "2"),
    ]


def test_providers_notes_are_left_out() -> None:
    assert (
        changed_values({"__inputs": 1}, {"__inputs": 2}, detailed_diff={"__fieldManager": {"diffKind": "update"}}) == []
    )


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("password", True),
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("STRIPE_API_KEY", True),
        ("clientSecret", True),
        ("accessToken", True),
        ("privateKey", True),
        ("secretName", False),
        ("tokenExpirationSeconds", False),
        ("passwordFile", False),
        ("image", False),
        ("key", False),
    ],
)
def test_what_looks_like_a_secret_is_masked(key: str, hidden: bool) -> None:
    (found,) = changes({"a": 1}, {"a": 1, key: "s3cret"})
    assert found.new == (SECRET if hidden else "s3cret")


def test_environment_variables_are_known_by_their_name() -> None:
    (found,) = changes({}, {"env": [{"name": "DB_PASSWORD", "value": "s3cret"}, {"name": "MODE", "value": "on"}]})
    assert "s3cret" not in str(found)
    assert "on" in str(found)


def test_passwords_in_addresses_are_masked() -> None:
    old, new = {"url": "postgresql+psycopg://shop:one@db:5432/x"}, {"url": "postgresql+psycopg://shop:two@db:5433/x"}
    assert changed_values(old, new) == [
        ("url", f"postgresql+psycopg://shop:{SECRET}@db:5432/x", f"postgresql+psycopg://shop:{SECRET}@db:5433/x")
    ]


def test_a_password_alone_that_changes_in_an_address_is_still_a_change() -> None:
    diff = {"url": {"diffKind": "update", "inputDiff": True}}
    (found,) = changes({"url": "http://a:one@b"}, {"url": "http://a:two@b"}, detailed_diff=diff)
    assert (found.path, found.old, found.new) == ("url", f"http://a:{SECRET}@b", f"http://a:{SECRET}@b")


def test_a_kubernetes_secret_shows_nothing_even_in_plain_text() -> None:
    found = changes(
        {"stringData": {"a": "one"}}, {"stringData": {"a": "two", "b": "three"}}, "kubernetes:core/v1:Secret"
    )
    assert [(change.path, change.new) for change in found] == [("stringData.b", SECRET)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SECRET_MARK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, VALUES)
def test_any_properties_can_be_compared_and_no_ciphertext_is_shown(old: Any, new: Any) -> None:
    found = changes({"a": old}, {"a": new})
    assert "ciphertext" not in str(found)
    assert all(change.old != change.new for change in found)


@given(VALUES)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert changes({"a": value}, {"a": value}) == ()
