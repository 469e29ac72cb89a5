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


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1, "b": {"c": [1, 2]}}, {"b": {"c": [1, 3]}, "d": None}, ["a", "b.c.1", "d"]),
        ({"a": {}}, {"a": []}, ["a"]),
        ([1], [1, {"x": 1}], ["1"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": WRITTEN[0][0]}, {"a": {SIGNATURE: values.SECRET_SIGNATURE, "plaintext": "2"}}, ["a"]),
        ({"a": {"__x": 1}}, {"a": {"__x": 2}}, ["a.__x"]),
    ],
)
def test_the_differences_of_two_trees(old: Any, new: Any, found: list[str]) -> None:
    assert [".".join(map(str, each.path)) for each in values.differences(old, new)] == found
    assert values.same(old, new) is not bool(found)
    assert not list(values.differences(old, old))


def test_lists_are_compared_by_index_by_name_or_as_a_whole() -> None:
    old, new = [{"name": "a", "value": 1}], [{"name": "b", "value": 2}, {"name": "a", "value": 1}]
    (added,) = values.differences(old, new, lists=values.by_name)
    assert (added.path, added.old, added.new) == (("b",), values.MISSING, new[0])
    assert [each.path for each in values.differences(old, new)] == [(0, "name"), (0, "value"), (1,)]
    (whole,) = values.differences(old, new, lists=values.by_index_if_as_long)
    assert (whole.path, whole.old, whole.new) == ((), old, new)
    assert not list(values.differences({"__x": 1}, {"__x": 2}, notes=False))
