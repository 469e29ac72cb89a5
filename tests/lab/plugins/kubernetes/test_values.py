"""Property values survive the way to protobuf and back, with secrets and unknowns in the engine's own form."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.kubernetes import values
from lab.plugins.kubernetes.values import UNKNOWN, Secret

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(max_size=20)
    | st.just(UNKNOWN)
)
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4) | st.builds(Secret, inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), DATA, max_size=5))
def test_what_is_written_is_read(data: dict[str, Any]) -> None:
    assert values.read(values.write(data)) == data


@given(st.dictionaries(st.text(max_size=8), DATA, max_size=5))
def test_plain_data_have_no_secret_left(data: dict[str, Any]) -> None:
    assert not values.has_secret(values.plain(data))
    assert values.has_unknown(values.plain(data)) == values.has_unknown(data)


def test_the_wire_forms_are_the_engines() -> None:
    struct = Struct()
    json_format.ParseDict(
        {
            "secret": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "x"},
            "later": "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
            "later-object": "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
            "port": 80.0,
            "half": 0.5,
        },
        struct,
    )
    read = {"secret": Secret("x"), "later": UNKNOWN, "later-object": UNKNOWN, "port": 80, "half": 0.5}
    assert values.read(struct) == read
    assert isinstance(values.read(struct)["port"], int), "Kubernetes refuses 80.0 for a port"


def test_a_secret_does_not_show_its_value() -> None:
    assert "hunter2" not in repr({"password": Secret("hunter2")})


def test_paths_that_end_early_give_the_empty_value_of_their_type() -> None:
    data = {"spec": {"replicas": 2, "paused": True, "ports": [1], "name": "x"}}
    assert values.int_at(data, "spec", "replicas") == 2
    assert values.int_at(data, "spec", "paused", default=7) == 7, "a flag is no number"
    assert values.int_at(data, "status", "replicas") == 0
    assert values.list_at(data, "spec", "ports") == [1]
    assert values.mapping_at(data, "spec", "ports") == {}
    assert values.text_at(data, "spec", "name", "deeper") == ""
