"""Names, secrecy and field ownership: what an object is called, what is hidden, and whose fields are whose."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.kubernetes import checkpoint, directives, managed_fields, naming
from lab.plugins.kubernetes.checkpoint import Checkpoint
from lab.plugins.kubernetes.client import ApiError
from lab.plugins.kubernetes.naming import Autonaming
from lab.plugins.kubernetes.secrecy import mark_secrets
from lab.plugins.kubernetes.values import UNKNOWN, Secret, plain
from lab.plugins.serving import PluginError

Object = dict[str, Any]
OWN = "pulumi-kubernetes-0123abcd"


def assign(inputs: Object, old: Object | None = None, **autonaming: Any) -> Object:
    naming.assign(inputs, resource_name="web", old_inputs=old or {}, seed=b"s", autonaming=Autonaming(**autonaming))
    return inputs


def test_generated_names_are_marked_and_kept() -> None:
    made = assign({})
    assert re.fullmatch(r"web-[0-9a-f]{8}", made["metadata"]["name"])
    assert made["metadata"]["annotations"] == {directives.AUTONAMED: "true"}
    assert assign({"metadata": {"labels": {}}}, made)["metadata"]["name"] == made["metadata"]["name"]


def test_a_name_of_the_programs_own_is_not_kept_when_it_is_taken_away() -> None:
    assert assign({}, {"metadata": {"name": "mine"}})["metadata"]["name"] != "mine"


def test_named_objects_and_unknown_names_are_left_alone() -> None:
    for metadata in ({"name": "mine"}, {"name": UNKNOWN}):
        assert assign({"metadata": dict(metadata)})["metadata"] == metadata
    assert assign({"metadata": UNKNOWN})["metadata"] is UNKNOWN


def test_generate_name_is_refused() -> None:
    with pytest.raises(PluginError, match="generateName"):
        naming.refuse_generate_name({"metadata": {"generateName": "web-"}})
    naming.refuse_generate_name({"metadata": {"generateName": "web-", "name": "web"}})


@given(st.text(alphabet="ab-", min_size=1), st.text(alphabet="ab-.", min_size=1))
def test_ids_say_namespace_and_name(namespace: str, name: str) -> None:
    live = {"metadata": {"namespace": namespace, "name": name}}
    assert naming.parse_id(naming.object_id(live)) == (namespace, name)
    assert naming.parse_id(naming.object_id({"metadata": {"name": name}})) == ("", name)


@pytest.mark.parametrize("identifier", ["", "a/", "a/b/c"])
def test_no_id(identifier: str) -> None:
    with pytest.raises(PluginError, match="it reads `name` or `namespace/name`"):
        naming.parse_id(identifier)


def test_the_field_manager_is_the_annotations_the_states_or_a_new_one() -> None:
    annotated = {"metadata": {"annotations": {directives.PATCH_FIELD_MANAGER: "me"}}}
    assert naming.field_manager({"__fieldManager": OWN}, annotated) == "me"
    assert naming.field_manager({"__fieldManager": OWN}, {}) == OWN
    assert re.fullmatch(r"pulumi-kubernetes-[0-9a-f]{8}", naming.field_manager({}, {}))


def test_timeouts_and_policies_are_read_from_the_annotations() -> None:
    def annotated(key: str, value: str) -> Object:
        return {"metadata": {"annotations": {key: value}}}

    assert directives.timeout_seconds(annotated(directives.TIMEOUT_SECONDS, "90"), 0) == 90
    assert directives.timeout_seconds(annotated(directives.TIMEOUT_SECONDS, "90"), 30) == 30
    assert directives.timeout_seconds(annotated(directives.TIMEOUT_SECONDS, "soon"), 0) is None
    assert directives.propagation_policy(annotated(directives.DELETION_PROPAGATION, "orphan")) == "Orphan"
    assert directives.propagation_policy({}) is None


def test_secrets_are_marked_where_they_were() -> None:
    outputs = {"kind": "Pod", "a": {"b": "x", "c": "y"}, "list": [1, 2], "d": 1}
    inputs = {"a": {"b": Secret("x"), "c": "y"}, "list": [Secret(1), 2], "gone": Secret(1)}
    assert mark_secrets(outputs, inputs) == {
        "kind": "Pod",
        "a": {"b": Secret("x"), "c": "y"},
        "list": Secret([1, 2]),
        "d": 1,
    }


def test_a_secret_object_hides_all_that_is_in_it() -> None:
    assert mark_secrets({"a": {"b": 1}}, {"a": Secret({"b": 1})}) == {"a": Secret({"b": 1})}
    assert mark_secrets({"kind": "Secret", "data": {"p": "eA=="}}, {}) == {
        "kind": "Secret",
        "data": Secret({"p": "eA=="}),
    }


DATA = st.recursive(
    st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.builds(Secret, inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abc"), DATA))
def test_no_secret_of_the_inputs_is_in_the_clear(inputs: Object) -> None:
    def clear(marked: Any, declared: Any) -> None:
        if isinstance(marked, Secret):
            return
        assert not isinstance(declared, Secret)
        if isinstance(marked, dict):
            for key, value in marked.items():
                clear(value, declared[key])

    clear(mark_secrets(plain(inputs), inputs), inputs)


def test_a_state_is_what_was_recorded() -> None:
    declared = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"p": Secret("x")}}
    live = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"p": "x"}, "metadata": {"uid": "u"}}
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"p": "x"}}
    state = checkpoint.record(live=live, inputs=inputs, declared=declared, initial_api_version="v1", field_manager=OWN)
    assert state["data"] == {"p": Secret("x")}
    assert state["__inputs"]["data"] == {"p": Secret("x")}
    assert Checkpoint.of(state) == Checkpoint(live, inputs, "v1", OWN)


def entry(manager: str, operation: str = "Update", **fields: Any) -> Object:
    return {
        "manager": manager,
        "operation": operation,
        "fieldsV1": {f"f:{key}": value for key, value in fields.items()},
    }


def live_with(*entries: Object) -> Object:
    return {"metadata": {"managedFields": list(entries)}}


def test_the_creators_fields_become_the_managers() -> None:
    live = live_with(
        entry("pulumi-kubernetes", data={"f:a": {}}), entry(OWN, "Apply", spec={"f:x": {}}), entry("kubelet", status={})
    )
    moved = managed_fields.taken_over(live, OWN, take_kubectl=False)
    assert moved == [entry("kubelet", status={}), entry(OWN, "Apply", data={"f:a": {}}, spec={"f:x": {}})]
    assert managed_fields.taken_over(live_with(*moved), OWN, take_kubectl=False) is None
    assert managed_fields.is_applied_by(live_with(*moved), OWN)
    assert not managed_fields.is_applied_by(live, OWN)


def test_kubectls_fields_are_taken_only_when_asked_and_status_never() -> None:
    live = live_with(entry("kubectl-edit", spec={}), {**entry("pulumi-kubernetes", status={}), "subresource": "status"})
    assert managed_fields.taken_over(live, OWN, take_kubectl=False) is None
    moved = managed_fields.taken_over(live, OWN, take_kubectl=True)
    assert [item["manager"] for item in moved or []] == ["pulumi-kubernetes", OWN]


def test_whose_a_field_is() -> None:
    live = live_with(entry(OWN, "Apply", spec={"f:a": {}}), entry("hpa", spec={"f:replicas": {}}))
    assert managed_fields.owns(live, OWN, ["spec", "a"])
    assert not managed_fields.owns(live, OWN, ["spec", "replicas"])
    assert managed_fields.others_own(live, OWN, ["spec", "replicas"])


def test_a_conflict_tells_owners_fields_and_ways_out() -> None:
    causes = [
        {"message": 'conflict with "hpa"', "field": ".spec.replicas"},
        {"message": 'conflict with "kubectl-edit" using apps/v1', "field": ".spec.paused"},
        {"message": 'conflict with "hpa"', "field": ".spec.minReadySeconds"},
    ]
    told = managed_fields.conflict_message(ApiError(409, {"message": "m", "details": {"causes": causes}}), OWN)
    assert told.splitlines()[1:4] == [
        f"The resource managed by field manager '{OWN}' had an apply conflict:",
        '  - "hpa" owns .spec.replicas, .spec.minReadySeconds',
        '  - "kubectl-edit" using apps/v1 owns .spec.paused',
    ]
    assert "pulumi.com/patchForce" in told.splitlines()[4]
