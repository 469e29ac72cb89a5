"""Which images a recorded object runs, whatever kind it is of, and whether or not its state is decrypted."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.state.checkpoint import ResourceState
from slipway.state.kubernetes_objects import images_of, pod_spec_of
from slipway.values import SECRET_SIGNATURE, SIGNATURE

CONTAINERS = {"initContainers": [{"image": "a@sha256:1"}], "containers": [{"image": "b@sha256:2"}, {"name": "c"}]}
TEMPLATE = {"template": {"spec": CONTAINERS}}


def state(type_: str, spec: Any) -> ResourceState:
    return ResourceState({"urn": f"urn:pulumi:dev::shop::{type_}::x", "type": type_, "inputs": {"spec": spec}})


@pytest.mark.parametrize(
    ("type_", "spec"),
    [
        ("kubernetes:apps/v1:Deployment", TEMPLATE),
        ("kubernetes:apps/v1:StatefulSet", TEMPLATE),
        ("kubernetes:batch/v1:Job", TEMPLATE),
        ("kubernetes:batch/v1:CronJob", {"jobTemplate": {"spec": TEMPLATE}}),
        ("kubernetes:core/v1:Pod", CONTAINERS),
    ],
)
def test_the_images_of_every_kind_with_pods(type_: str, spec: dict[str, Any]) -> None:
    assert images_of(state(type_, spec)) == ["a@sha256:1", "b@sha256:2"]


@pytest.mark.parametrize(
    "inputs", [{}, {"stringData": {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "v1:x"}}, {"spec": None}, {"spec": "x"}]
)
def test_what_makes_no_pods_has_none(inputs: dict[str, Any]) -> None:
    urn, type_ = "urn:pulumi:dev::shop::kubernetes:core/v1:Secret::x", "kubernetes:core/v1:Secret"
    assert images_of(ResourceState({"urn": urn, "type": type_, "inputs": inputs})) == []


def test_an_encrypted_variable_hides_nothing_but_itself() -> None:
    encrypted = {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "v1:x"}
    container = {"image": "b@sha256:2", "env": [{"name": "TOKEN", "value": encrypted}]}
    spec = {"template": {"spec": {"containers": [container]}}}
    found = state("kubernetes:apps/v1:Deployment", spec)
    assert images_of(found) == ["b@sha256:2"]
    assert pod_spec_of(found)["containers"][0]["env"] == [{"name": "TOKEN", "value": "(secret)"}]


def test_a_secret_of_a_decrypted_state_is_read() -> None:
    opened = {SIGNATURE: SECRET_SIGNATURE, "plaintext": '{"spec": {"containers": [{"image": "b@sha256:2"}]}}'}
    assert images_of(state("kubernetes:apps/v1:Deployment", {"template": opened})) == ["b@sha256:2"]
