"""Inputs in the API server's own form: what it would store is what is compared."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.kubernetes import quantities
from lab.plugins.kubernetes.normalize import normalize, prune, to_dashes, to_underscores
from lab.plugins.kubernetes.values import UNKNOWN

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
FACTORS = {"n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15"}
FACTORS |= {"E": "1e18", **{f"{letter}i": str(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")}}


def amount(quantity: str) -> Decimal:
    suffix = quantity.lstrip("+-.0123456789")
    return Decimal(quantity.removesuffix(suffix)) * Decimal(FACTORS[suffix])


# Each pair was seen in the answer of a real API server to a dry run of a ResourceQuota.
@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("100000k", "100M"),
        ("1e3", "1e3"),
        ("129e6", "129e6"),
        (".5", "500m"),
        ("100.5Mi", "102912Ki"),
        ("1Ki", "1Ki"),
        ("1000Ki", "1000Ki"),
        ("12345678901234567890", "12345678901234567890"),
        ("1E2", "100"),
        ("5E", "5E"),
        ("0.5Ki", "512"),
        ("1.5Ki", "1536"),
        ("1000", "1k"),
        ("2048", "2048"),
        ("1e-3", "1e-3"),
        ("10e-1", "1"),
        ("0", "0"),
        (0.25, "250m"),
        (2, "2"),
    ],
)
def test_quantities_as_the_server_stores_them(told: str | float, stored: str) -> None:
    assert quantities.canonical(told) == stored


@given(st.integers(-(10**6), 10**6), st.integers(0, 3), st.sampled_from(SUFFIXES))
def test_a_quantity_keeps_its_amount_and_is_stable(number: int, scale: int, suffix: str) -> None:
    told = f"{Decimal(number).scaleb(-scale):f}{suffix}"
    stored = quantities.canonical(told)
    assert quantities.canonical(stored) == stored
    with localcontext() as context:
        context.prec = 60
        rounded_up = amount(told).quantize(Decimal("1e-9"), rounding=ROUND_UP)
        assert amount(stored) == rounded_up


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1gi", "--1"])
def test_what_is_no_quantity_is_left_for_the_server_to_refuse(text: str) -> None:
    assert quantities.canonical(text) == text


def deployment(**container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "a", **container}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": pod}},
    }


def test_quantities_are_found_where_they_are_and_nowhere_else() -> None:
    told = deployment(
        resources={"requests": {"cpu": 0.5}, "limits": {"memory": "1024Mi"}},
        env=[{"name": "A", "value": "1000m"}, {"valueFrom": {"resourceFieldRef": {"divisor": "1000m"}}}],
    )
    told["metadata"]["labels"] = {"limits": "1000m"}
    container = normalize(told)["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    assert container["env"] == [{"name": "A", "value": "1000m"}, {"valueFrom": {"resourceFieldRef": {"divisor": "1"}}}]
    assert normalize(told)["metadata"]["labels"] == {"limits": "1000m"}


def test_what_the_server_does_not_store_is_left_out() -> None:
    told = deployment(env=[], command=None)
    told["metadata"] |= {"labels": {}, "uid": "x", "resourceVersion": "1", "managedFields": []}
    told["spec"]["template"]["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    assert normalize(told) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "a"}], "volumes": [{"name": "tmp", "emptyDir": {}}]}}},
    }


def test_zero_values_are_left_out_where_they_say_nothing() -> None:
    told = deployment(
        env=[{"name": "EMPTY", "value": ""}],
        tty=False,
        ports=[{"containerPort": 80, "hostPort": 0}],
        securityContext={"allowPrivilegeEscalation": False, "runAsUser": 0},
    )
    told["spec"] |= {"replicas": 0, "minReadySeconds": 0, "paused": False}
    told["spec"]["template"]["spec"]["automountServiceAccountToken"] = False
    normal = normalize(told)["spec"]
    pod = normal.pop("template")["spec"]
    assert normal == {"replicas": 0}
    assert pod == {
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "a",
                "env": [{"name": "EMPTY"}],
                "ports": [{"containerPort": 80}],
                "securityContext": {"allowPrivilegeEscalation": False, "runAsUser": 0},
            }
        ],
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"storageClassName": "", "volumeName": ""}}
    assert normalize(claim)["spec"] == {"storageClassName": ""}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"empty": ""}}
    assert normalize(config) == config


def test_empty_selectors_mean_everything_and_stay() -> None:
    told = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}], "egress": [{}]},
    }
    assert normalize(told)["spec"] == told["spec"]


def test_custom_resources_and_previews_are_left_as_they_are() -> None:
    custom = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "spec": {"limits": {"cpu": "1000m"}, "list": [], "x": None},
    }
    assert normalize(custom) == custom
    unknown = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": UNKNOWN, "uid": "x"}, "spec": {"volumes": []}}
    assert normalize(unknown) == {**unknown, "metadata": {"name": UNKNOWN}}


def test_a_secrets_text_becomes_data() -> None:
    told = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==\n", "b": "eQ=="}, "stringData": {"b": "z"}}
    assert normalize(told) == {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eg=="}}


def test_a_definitions_default_and_status_are_no_inputs() -> None:
    told = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"preserveUnknownFields": False, "group": "g"},
        "status": {"x": 1},
    }
    assert normalize(told)["spec"] == {"group": "g"}
    assert "status" not in normalize(told)


def test_schema_keys_are_spelled_twice() -> None:
    told = {"schema": [{"x_kubernetes_int_or_string": True, "x_other": 1}]}
    dashed = {"schema": [{"x-kubernetes-int-or-string": True, "x_other": 1}]}
    assert to_dashes(told) == dashed
    assert to_underscores(dashed) == told


def test_pruning_keeps_what_the_inputs_speak_of() -> None:
    live = {"spec": {"replicas": 2, "strategy": {}, "list": [{"a": 1, "b": 2}, {"a": 3}]}, "status": {}}
    assert prune(live, {"spec": {"replicas": 1, "list": [{"a": 0}]}}) == {"spec": {"replicas": 2, "list": [{"a": 1}]}}
    assert prune({"a": [1]}, {"a": {"b": 1}}) == {"a": [1]}
