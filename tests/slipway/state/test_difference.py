"""How much of a recorded state is in another: resources, fields, inputs, and secrets without their values."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.diff import difference_lines, difference_shape
from slipway.masking import SECRET, UNKNOWN
from slipway.render.service_changes import OUTSIDE
from slipway.state.checkpoint import objects
from slipway.state.difference import (
    MAY_HAVE_CHANGED,
    Comparison,
    FieldChange,
    Operation,
    StepDetails,
    compared,
    difference,
    field_changes,
)
from slipway.values import SECRET_SIGNATURE, SIGNATURE, UNKNOWN_MARK
from tests.slipway.states import add, find, named_by_service, secret, urn, without

SERVICE = "urn:pulumi:dev::slipway::slipway:index:Microservice$"
KUBERNETES = "urn:pulumi:dev::slipway::"


def resource(kind: str, name: str, inputs: dict[str, Any], service: bool = True) -> dict[str, Any]:
    type_ = f"kubernetes:{kind}"
    return {
        "urn": f"{SERVICE if service else KUBERNETES}{type_}::{name}",
        "type": type_,
        "custom": True,
        "inputs": inputs,
    }


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resources": list(resources)}


def opened(value: Any) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "plaintext": json.dumps(value)}


def sealed(text: str) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "ciphertext": text}


def test_the_same_states_do_not_differ() -> None:
    one = state(resource("apps/v1:Deployment", "a", {"spec": {"replicas": 1}}))
    found = difference(one, one)
    assert not found
    assert difference_lines(found, "dev from #1 to #2") == ["dev from #1 to #2: no difference."]
    assert difference_shape(found, 1, None) == {"from": 1, "to": None, "secretsCompared": True, "services": []}


def test_resources_come_go_and_change_under_their_services() -> None:
    old = state(
        resource("apps/v1:Deployment", "b-service", {"spec": {"replicas": 1, "gone": True}}),
        resource("core/v1:ConfigMap", "b-service", {}),
        resource("core/v1:Namespace", "dev", {"metadata": {"labels": {"a.b/c": "1"}}}, service=False),
    )
    new = state(
        resource("apps/v1:Deployment", "b-service", {"spec": {"replicas": 2, "new": [1]}}),
        resource("core/v1:Service", "a-service", {}),
        resource("core/v1:Namespace", "dev", {"metadata": {"labels": {"a.b/c": "2"}}}, service=False),
    )
    assert difference_lines(difference(old, new), "dev") == [
        OUTSIDE,
        "  ~ Namespace dev",
        '      metadata.labels["a.b/c"]: 1 → 2',
        "a-service",
        "  + Service a-service",
        "b-service",
        "  - ConfigMap b-service",
        "  ~ Deployment b-service",
        "      spec.replicas: 1 → 2",
        "      spec.gone: true → -",
        "      spec.new: - → [1]",
        "dev: 4 resources differ: 1 added, 2 changed, 1 removed.",
    ]


def test_images_builds_and_providers_are_no_difference() -> None:
    image = {"urn": f"{SERVICE}docker-build:index:Image::a", "type": "docker-build:index:Image", "custom": True}
    provider = {
        "urn": f"{KUBERNETES}pulumi:providers:kubernetes::p",
        "type": "pulumi:providers:kubernetes",
        "custom": True,
    }
    assert not difference(state(), state(image, provider))


def test_a_changed_secret_is_seen_and_not_shown() -> None:
    old = state(resource("core/v1:Secret", "a", {"stringData": opened({"KEY": "hunter2", "OTHER": "x"})}))
    new = state(resource("core/v1:Secret", "a", {"stringData": opened({"KEY": "correct horse", "OTHER": "x"})}))
    found = difference(old, new)
    (change,) = found.changes
    (field,) = change.fields
    assert (field.path, field.kind, field.old, field.new) == ("stringData.KEY", "update", SECRET, SECRET)
    text = "\n".join(difference_lines(found, "dev")) + json.dumps(difference_shape(found, 1, 2))
    assert "hunter2" not in text
    assert "correct horse" not in text


def test_what_only_looks_like_a_secret_is_masked_and_seen() -> None:
    def deployment(password: str) -> dict[str, Any]:
        env = [{"name": "URL", "value": f"postgres://u:{password}@h/db"}, {"name": "API_TOKEN", "value": password}]
        return state(resource("apps/v1:Deployment", "a", {"spec": {"env": env}}))

    text = "\n".join(difference_lines(difference(deployment("first-one"), deployment("second-one")), "dev"))
    assert "spec.env[0].value" in text
    assert "spec.env[1].value" in text
    assert "first-one" not in text
    assert "second-one" not in text


def test_an_equal_secret_is_no_difference() -> None:
    one, two = (state(resource("core/v1:Secret", "a", {"data": opened({"a": 1})})) for _ in range(2))
    assert not difference(one, two)


def test_secrets_that_cannot_be_opened_may_have_changed() -> None:
    old, new = (state(resource("core/v1:Secret", "a", {"data": sealed(text)})) for text in ("v1:one", "v1:two"))
    found = difference(old, new)
    assert not found.secrets_compared
    assert [(field.path, field.new) for field in found.changes[0].fields] == [("data", MAY_HAVE_CHANGED)]
    assert "v1:" not in "\n".join(difference_lines(found, "dev"))
    assert not difference(old, old)


def test_a_secret_that_was_none_is_not_shown_either() -> None:
    old = state(resource("core/v1:ConfigMap", "a", {"data": {"x": opened("hidden")}}))
    new = state(resource("core/v1:ConfigMap", "a", {"data": {"x": "plain"}}))
    (change,) = difference(old, new).changes
    assert change.operation is Operation.UPDATE
    assert [(field.old, field.new) for field in change.fields] == [(SECRET, "plain")]


def test_another_content_is_a_change_of_one_resource() -> None:
    def config_map(name: str, level: str) -> dict[str, Any]:
        return resource("core/v1:ConfigMap", name, {"metadata": {"name": name}, "data": {"LEVEL": level}})

    old, new = (config_map(f"web-{name}", level) for name, level in (("1a2b3c4d", "info"), ("0a2b3c4d", "debug")))
    assert difference_lines(difference(state(old), state(new)), "dev") == [
        "web",
        "  ~ ConfigMap web-0a2b3c4d",
        "      metadata.name: web-1a2b3c4d → web-0a2b3c4d",
        "      data.LEVEL: info → debug",
        "dev: 1 resource differs: 1 changed.",
    ]


def test_what_was_renamed_is_one_resource_in_both_directions() -> None:
    inputs = {"metadata": {"name": "web", "namespace": "dev"}, "spec": {"port": 80}}
    old = resource("core/v1:Service", "web", inputs) | {"id": "dev/web"}
    new = resource("core/v1:Service", "front", {**inputs, "spec": {"port": 81}}) | {"id": "dev/web"}
    assert difference_lines(difference(state(old), state(new)), "dev")[1:] == [
        "  ~ Service front",
        "      (name in Pulumi): web → front",
        "      spec.port: 80 → 81",
        "dev: 1 resource differs: 1 changed.",
    ]
    assert "(name in Pulumi): front → web" in "\n".join(difference_lines(difference(state(new), state(old)), "dev"))


def test_an_alias_tells_that_it_is_the_same_though_the_object_is_another() -> None:
    old = resource("core/v1:ConfigMap", "old", {"metadata": {"name": "settings-1"}}) | {"id": "dev/settings-1"}
    new = resource("core/v1:ConfigMap", "new", {"metadata": {"name": "settings-2"}}) | {"id": "dev/settings-2"}
    new["aliases"] = [old["urn"]]
    for found in (difference(state(old), state(new)), difference(state(new), state(old))):
        assert [change.operation for change in found.changes] == [Operation.UPDATE]
        assert {field.path for field in found.changes[0].fields} == {"(name in Pulumi)", "metadata.name"}


def test_a_resource_under_another_parent_says_whose_it_was() -> None:
    old = resource("core/v1:Service", "web", {}, service=False) | {"id": "dev/web", "parent": f"{KUBERNETES}a:b:C::dev"}
    new = resource("core/v1:Service", "web", {}) | {"id": "dev/web", "parent": f"{SERVICE}::shop"}
    (change,) = difference(state(old), state(new)).changes
    assert [(field.path, field.old, field.new) for field in change.fields] == [("(parent in Pulumi)", "dev", "shop")]


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


DEPLOYMENT_TYPE = "kubernetes:apps/v1:Deployment"
SECRET_MARK = {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "[secret]"}


def changes(old: Any, new: Any, type_: str = DEPLOYMENT_TYPE, **more: Any) -> tuple[FieldChange, ...]:
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
