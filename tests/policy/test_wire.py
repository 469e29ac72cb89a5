"""What the engine writes is read as plain data: secrets opened, unknowns marked, checkpoints too."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime import rpc
from pulumi_policy import deserialize, proxy

from policy import wire
from policy.declaration import Options, Resource
from tests.policy.policy_examples import UNKNOWN


def test_the_marks_are_the_sdks() -> None:
    known = {value for name, value in vars(proxy).items() if name.startswith("UNKNOWN_")}
    assert known == wire.UNKNOWN_MARKS
    assert (wire.SIGNATURE, wire.SECRET) == (deserialize.SPECIAL_SIG_KEY, deserialize.SPECIAL_SECRET_SIG)
    assert rpc._special_resource_sig == wire.RESOURCE_REFERENCE
    assert rpc._special_output_value_sig == wire.OUTPUT_VALUE


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
        ({"a": {wire.SIGNATURE: wire.SECRET, "value": {"b": 3.0}}}, {"a": {"b": 3}}),
        ({wire.SIGNATURE: wire.SECRET, "ciphertext": "v1:…"}, UNKNOWN),
        ({wire.SIGNATURE: wire.OUTPUT_VALUE, "dependencies": []}, UNKNOWN),
        ({wire.SIGNATURE: wire.OUTPUT_VALUE, "value": "x"}, "x"),
        ({wire.SIGNATURE: wire.RESOURCE_REFERENCE, "urn": "u", "id": "i"}, "i"),
        ({wire.SIGNATURE: wire.RESOURCE_REFERENCE, "urn": "u"}, UNKNOWN),
        ({wire.SIGNATURE: deserialize.SPECIAL_ASSET_SIG, "path": "a"}, {"path": "a"}),
    ],
)
def test_values(written: Any, read: Any) -> None:
    assert wire.plain(written) == read


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("150s", 150), ("2m30s", 150), ("1h", 3600), ("1.5m", 90), ("", None), (None, None), (150.0, 150), (0, None)],
)
def test_timeouts(timeout: Any, seconds: float | None) -> None:
    assert wire.seconds(timeout) == seconds


def test_a_recorded_resource() -> None:
    urn = "urn:pulumi:prod::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::api"
    recorded = {
        "urn": urn,
        "type": "kubernetes:apps/v1:Deployment",
        "inputs": {"spec": {"replicas": 2}, "secret": {wire.SIGNATURE: wire.SECRET, "ciphertext": "v1:…"}},
        "protect": True,
        "customTimeouts": {"create": 330, "update": 330},
        "dependencies": ["urn:other"],
    }
    options = Options(True, 330.0, 330.0, frozenset({"urn:other"}))
    inputs = {"spec": {"replicas": 2}, "secret": UNKNOWN}
    assert wire.from_checkpoint(recorded) == Resource("kubernetes:apps/v1:Deployment", "api", inputs, urn, options)
