"""What the engine writes is read as plain data: secrets opened, unknowns marked, checkpoints too."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy import deserialize, proxy

from policy.declaration import Options, Resource, from_checkpoint, plain, seconds
from slipway.values import OUTPUT_SIGNATURE, RESOURCE_REFERENCE_SIGNATURE, SECRET_SIGNATURE, SIGNATURE
from tests.policy.policy_examples import UNKNOWN


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (1.0, 1),
        (0.5, 0.5),
        (True, True),
        (None, None),
        ("text", "text"),
        (proxy.UNKNOWN_STRING_VALUE, UNKNOWN),
        ([proxy.UNKNOWN_NUMBER_VALUE, 2.0], [UNKNOWN, 2]),
        ({"a": {SIGNATURE: SECRET_SIGNATURE, "value": {"b": 3.0}}}, {"a": {"b": 3}}),
        ({SIGNATURE: SECRET_SIGNATURE, "ciphertext": "v1:…"}, UNKNOWN),
        ({SIGNATURE: OUTPUT_SIGNATURE, "dependencies": []}, UNKNOWN),
        ({SIGNATURE: OUTPUT_SIGNATURE, "value": "x"}, "x"),
        ({SIGNATURE: RESOURCE_REFERENCE_SIGNATURE, "urn": "u", "id": "i"}, "i"),
        ({SIGNATURE: RESOURCE_REFERENCE_SIGNATURE, "urn": "u"}, UNKNOWN),
        ({SIGNATURE: deserialize.SPECIAL_ASSET_SIG, "path": "a"}, {"path": "a"}),
    ],
)
def test_values(written: Any, read: Any) -> None:
    assert plain(written) == read


@pytest.mark.parametrize(
    ("timeout", "read"),
    [("150s", 150), ("2m30s", 150), ("1h", 3600), ("1.5m", 90), ("", None), (None, None), (150.0, 150), (0, None)],
)
def test_timeouts(timeout: Any, read: float | None) -> None:
    assert seconds(timeout) == read


def test_a_recorded_resource() -> None:
    urn = "urn:pulumi:prod::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::api"
    recorded = {
        "urn": urn,
        "type": "kubernetes:apps/v1:Deployment",
        "inputs": {"spec": {"replicas": 2}, "secret": {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "v1:…"}},
        "protect": True,
        "customTimeouts": {"create": 330, "update": 330},
        "dependencies": ["urn:other"],
    }
    options = Options(True, 330.0, 330.0, frozenset({"urn:other"}))
    inputs = {"spec": {"replicas": 2}, "secret": UNKNOWN}
    assert from_checkpoint(recorded) == Resource("kubernetes:apps/v1:Deployment", "api", inputs, urn, options)
