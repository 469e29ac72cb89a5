"""Differences between inputs, their paths, and which of them replace the object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.kubernetes import immutable
from lab.plugins.kubernetes.diff import Change, changes, replaces
from lab.plugins.kubernetes.paths import MISSING, Path
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import UNKNOWN

DATA = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
PARTS = st.lists(st.integers(0, 9) | st.text(alphabet='ab."[]/-', min_size=1, max_size=6), max_size=5)


@given(st.dictionaries(st.text(max_size=5), DATA), st.dictionaries(st.text(max_size=5), DATA))
def test_the_changes_make_the_new_out_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    found = list(changes(old, new))
    kept = [change for change in found if change.kind != "DELETE"]
    deleted = [change for change in reversed(found) if change.kind == "DELETE"]
    result: Any = old
    for change in [*kept, *deleted]:
        result = change.path.placed(result, change.value)
    assert result == new


@given(DATA)
def test_nothing_differs_from_itself(data: Any) -> None:
    assert list(changes(data, data)) == []


@given(PARTS)
def test_a_path_survives_being_written(parts: list[str | int]) -> None:
    path = Path(tuple(parts))
    assert Path.parse(str(path)) == path


@given(st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.integers())), st.integers())
def test_what_is_placed_is_found(data: dict[str, Any], value: int) -> None:
    path = Path(("a", "x"))
    assert path.find(path.placed(data, value)) == value
    assert path.find(path.placed(data, MISSING)) is MISSING


def kinds(old: Any, new: Any) -> dict[str, str]:
    return {str(change.path): change.kind for change in changes(old, new)}


def test_changes_are_told_path_by_path() -> None:
    old = {"labels": {"a.b/c": "1", "x": "1"}, "list": [{"n": 1}, {"n": 2}], "gone": {"deep": 1}}
    new = {"labels": {"a.b/c": "2", "y": "1"}, "list": [{"n": 1, "m": 0}], "new": {"deep": 1}}
    assert kinds(old, new) == {
        'labels["a.b/c"]': "UPDATE",
        "labels.x": "DELETE",
        "labels.y": "ADD",
        "list[0].m": "ADD",
        "list[1]": "DELETE",
        "gone": "DELETE",
        "new": "ADD",
    }


def test_unknowns_and_kinds_of_value_are_changes() -> None:
    assert kinds({"a": 1}, {"a": UNKNOWN}) == {"a": "UPDATE"}
    assert kinds({"a": True}, {"a": 1}) == {"a": "UPDATE"}
    assert kinds({"a": {"b": 1}}, {"a": [1]}) == {"a": "UPDATE"}


def fields(kind: str, group: str = "", *, mutable: bool = False, **inputs: Any) -> list[Path]:
    target = GroupVersionKind(group, "v1", kind)
    return immutable.replacing_fields(target, inputs, mutable_config_maps=mutable, mutable_secrets=mutable)


def replaced_by(change: str, replacing: list[Path], value: Any = 1) -> bool:
    return replaces(Change(Path.parse(change), "UPDATE", value), replacing)


@pytest.mark.parametrize(
    ("kind", "group", "path", "expected"),
    [
        ("Deployment", "apps", "spec.selector.matchLabels.app", True),
        ("Deployment", "apps", "spec.template.spec.containers[0].image", False),
        ("StatefulSet", "apps", "spec.volumeClaimTemplates[0].spec", True),
        ("StatefulSet", "apps", "spec.replicas", False),
        ("Job", "batch", "spec.template.spec.containers[0].image", True),
        ("Service", "", "spec.clusterIP", True),
        ("Service", "", "spec.ports[0].port", False),
        ("PersistentVolumeClaim", "", "spec.accessModes[0]", True),
        ("PersistentVolumeClaim", "", "spec.resources.requests.storage", False),
        ("Pod", "", "spec.containers[1].env", True),
        ("Pod", "", "spec.activeDeadlineSeconds", False),
        ("RoleBinding", "rbac.authorization.k8s.io", "roleRef.name", True),
        ("RoleBinding", "rbac.authorization.k8s.io", "subjects[0].name", False),
        ("StorageClass", "storage.k8s.io", "provisioner", True),
        ("ConfigMap", "", "data.x", True),
        ("Secret", "", "type", True),
        ("Thing", "example.com", "metadata.name", True),
        ("Thing", "example.com", "spec.x", False),
    ],
)
def test_the_official_plugins_immutable_fields(kind: str, group: str, path: str, expected: bool) -> None:
    assert replaced_by(path, fields(kind, group)) is expected


def test_config_maps_and_secrets_are_mutable_when_told_so_and_not_frozen() -> None:
    for kind in ("ConfigMap", "Secret"):
        assert replaced_by("data.x", fields(kind))
        assert not replaced_by("data.x", fields(kind, mutable=True))
        assert replaced_by("data.x", fields(kind, mutable=True, immutable=True))


def test_a_whole_added_object_brings_its_immutable_fields() -> None:
    added = Change(Path.parse("spec"), "ADD", {"selector": {"matchLabels": {"a": "b"}}})
    assert replaces(added, fields("Deployment", "apps"))
    assert replaces(Change(Path.parse("metadata"), "DELETE", MISSING), [])


def test_another_version_is_the_same_object_and_another_group_mostly_not() -> None:
    assert not immutable.is_other_object("extensions/v1beta1", "apps/v1")
    assert not immutable.is_other_object("batch/v1beta1", "batch/v1")
    assert immutable.is_other_object("example.com/v1", "example.org/v1")


def test_the_server_is_asked_only_about_what_the_tables_do_not_say() -> None:
    def asks(kind: str, group: str, path: str) -> bool:
        return immutable.needs_server(GroupVersionKind(group, "v1", kind), [Path.parse(path)])

    assert not asks("Deployment", "apps", "spec.template.spec")
    assert not asks("ConfigMap", "", "data.x")
    assert not asks("Thing", "example.com", "metadata.labels.x")
    assert asks("Thing", "example.com", "spec.x")
    assert asks("Service", "", "spec.ipFamilies[0]")
    assert not asks("Service", "", "spec.ports[0]")


# The texts are those of Kubernetes 1.34.
@pytest.mark.parametrize(
    ("field", "message", "expected"),
    [
        ("spec.template", "Invalid value: {}: field is immutable", ["spec.template"]),
        ("data", "Forbidden: field is immutable when `immutable` is set", ["data"]),
        ("value", "Forbidden: may not be changed in an update.", ["value"]),
        ("roleRef", "Invalid value: {}: cannot change roleRef", ["roleRef"]),
        ("spec.clusterIPs[0]", 'Invalid value: ["10.0.0.1"]: may not change once set', ["spec.clusterIPs[0]"]),
        ("parameters", "Forbidden: updates to parameters are forbidden.", ["parameters"]),
        ("spec", "Forbidden: spec is immutable after creation except resources.requests", ["spec"]),
        ("spec", "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden", ["spec"]),
        ("spec.replicas", "Invalid value: -1: must be greater than or equal to 0", []),
    ],
)
def test_refusals_that_mean_immutable(field: str, message: str, expected: list[str]) -> None:
    status = {"message": "x is invalid", "details": {"causes": [{"field": field, "message": message}]}}
    assert [str(path) for path in immutable.immutable_fields(status)] == expected
