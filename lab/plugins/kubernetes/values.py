"""Property values as Python data: what the engine sends as protobuf structs, with secrets and unknowns kept apart.

Plain data is `dict`, `list`, `str`, `bool`, `int`, `float` and `None`; whole numbers are `int`, as Kubernetes wants
them. Two things are added: `Secret(value)` around a secret value, and `UNKNOWN` for a value a preview cannot know.
The wire forms are those of pulumi/sdk/go/common/resource/plugin/rpc.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from google.protobuf.struct_pb2 import ListValue, Struct, Value

Object: TypeAlias = dict[str, Any]

SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a public marker of the protocol
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_STRINGS: Final = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class _Unknown:
    """The type of `UNKNOWN`; there is one."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __copy__(self) -> _Unknown:
        return self

    def __deepcopy__(self, _memo: object) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()


class Secret:
    """A value the engine must encrypt; equal to another secret of an equal value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Secret(…)"


def read(struct: Struct) -> Object:
    """A protobuf struct as Python data."""
    return {key: _read_value(value) for key, value in struct.fields.items()}


def _read_value(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in UNKNOWN_STRINGS else text
    if kind == "struct_value":
        return _read_struct(value.struct_value)
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_read_value(item) for item in value.list_value.values]
    return None


def _read_struct(struct: Struct) -> Any:
    fields = struct.fields
    if SIGNATURE_KEY in fields and fields[SIGNATURE_KEY].string_value == SECRET_SIGNATURE:
        return Secret(_read_value(fields["value"]))
    return {key: _read_value(value) for key, value in fields.items()}


def write(data: Mapping[str, Any]) -> Struct:
    """Python data as a protobuf struct, secrets and unknowns in the engine's form."""
    struct = Struct()
    _write_fields(struct, data)
    return struct


def _write_fields(struct: Struct, data: Mapping[str, Any]) -> None:
    fields = struct.fields
    for key, value in data.items():
        _write_value(fields[key], value)


def _write_value(target: Value, value: Any) -> None:
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        _write_fields(target.struct_value, value)
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, list):
        _write_items(target.list_value, value)
    elif value is None:
        target.null_value = 0  # type: ignore[assignment]
    elif value is UNKNOWN:
        target.string_value = UNKNOWN_STRING
    elif isinstance(value, Secret):
        _write_value(target, {SIGNATURE_KEY: SECRET_SIGNATURE, "value": value.value})
    else:
        raise TypeError(f"a {type(value).__name__} is no property value")


def _write_items(target: ListValue, items: Iterable[Any]) -> None:
    target.SetInParent()
    for item in items:
        _write_value(target.values.add(), item)


def plain(value: Any) -> Any:
    """A deep copy without the secret wrappers; unknowns stay."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Secret):
        return plain(value.value)
    return value


def has_unknown(value: Any) -> bool:
    """Whether an unknown is anywhere inside."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN or (isinstance(value, Secret) and has_unknown(value.value))


def has_secret(value: Any) -> bool:
    """Whether a secret is anywhere inside."""
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return isinstance(value, Secret)


def at(data: Any, *path: str) -> Any:
    """The value at a path of object keys, or `None` where the path ends early."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def mapping_at(data: Any, *path: str) -> Object:
    """The object at a path, or an empty one."""
    found = at(data, *path)
    return found if isinstance(found, dict) else {}


def text_at(data: Any, *path: str) -> str:
    """The string at a path, or an empty one."""
    found = at(data, *path)
    return found if isinstance(found, str) else ""


def list_at(data: Any, *path: str) -> list[Any]:
    """The list at a path, or an empty one."""
    found = at(data, *path)
    return found if isinstance(found, list) else []


def int_at(data: Any, *path: str, default: int = 0) -> int:
    """The whole number at a path, or the default."""
    found = at(data, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else default
