"""Pulumi's special values: read and written as the SDK and the engine write them."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime import rpc
from pulumi_policy import deserialize, proxy

from slipway import values
from slipway.values import SIGNATURE, Asset, OutputValue, ResourceReference, Secret, Special, Unknown


def test_the_marks_are_the_sdks() -> None:
    known = {value for name, value in vars(proxy).items() if name.startswith("UNKNOWN_")}
    assert known == values.UNKNOWN_MARKS
    assert (SIGNATURE, values.SECRET_SIGNATURE) == (deserialize.SPECIAL_SIG_KEY, deserialize.SPECIAL_SECRET_SIG)
    assert rpc._special_resource_sig == values.RESOURCE_REFERENCE_SIGNATURE
    assert rpc._special_output_value_sig == values.OUTPUT_SIGNATURE
    assert deserialize.SPECIAL_ASSET_SIG == values.ASSET_SIGNATURE
    assert deserialize.SPECIAL_ARCHIVE_SIG == values.ARCHIVE_SIGNATURE


WRITTEN: list[tuple[Any, type]] = [
    ({SIGNATURE: values.SECRET_SIGNATURE, "plaintext": '{"a": 1}'}, Secret),
    ({SIGNATURE: values.SECRET_SIGNATURE, "ciphertext": "v1:x"}, Secret),
    ({SIGNATURE: values.SECRET_SIGNATURE, "value": {"a": 1}}, Secret),
    ({SIGNATURE: values.RESOURCE_REFERENCE_SIGNATURE, "urn": "u", "id": ""}, ResourceReference),
    ({SIGNATURE: values.OUTPUT_SIGNATURE, "dependencies": ["u"]}, OutputValue),
    ({SIGNATURE: values.ASSET_SIGNATURE, "hash": "h", "text": "x"}, Asset),
    ({SIGNATURE: values.ARCHIVE_SIGNATURE, "assets": {}}, Asset),
    ({SIGNATURE: "of a later version", "x": 1}, Special),
    *((mark, Unknown) for mark in sorted(values.UNKNOWN_MARKS)),
]


@pytest.mark.parametrize(("written", "type_"), WRITTEN)
def test_what_is_decoded_is_encoded_as_it_was(written: Any, type_: type) -> None:
    decoded = values.decode(written)
    assert type(decoded) is type_
    assert values.encode(decoded) == written
    nested = {"a": [written, {"b": written, "c": [], "d": {}}, None, True, 1.5, "text"]}
    assert values.mapped(nested, lambda each, _: each) == nested


def test_a_secret_is_opened_in_either_form() -> None:
    for written, _ in WRITTEN[:3:2]:
        assert values.opened({"a": [written]}) == {"a": [{"a": 1}]}
    assert values.opened(values.encode(values.secret([1, None]))) == [1, None]
    with pytest.raises(KeyError, match="plaintext"):
        values.opened(WRITTEN[1][0])


def test_every_value_is_met_with_its_path() -> None:
    """Keys with dots are keys; what is empty is a value; a secret is one, with nothing within it."""
    secret = WRITTEN[0][0]
    properties = {"a.b": [1, {"c": secret}], "d": {}, "e": []}
    assert list(values.walk(properties)) == [
        (("a.b", 0), 1),
        (("a.b", 1, "c"), values.decode(secret)),
        (("d",), {}),
        (("e",), []),
    ]
    paths = values.mapped(properties, lambda _, path: list(path))
    assert paths == {"a.b": [["a.b", 0], {"c": ["a.b", 1, "c"]}], "d": {}, "e": []}


def test_only_an_encrypted_secret_is_encrypted() -> None:
    assert [values.has_encrypted([{"x": written}]) for written, _ in WRITTEN[:3]] == [False, True, False]
