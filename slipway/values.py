"""Pulumi's special values among the properties of resources, decoded, encoded and compared here alone. Pure.

Properties are JSON: on the wire, in a state, in the engine's events. A secret, an asset, a reference to a resource or
an output stands there as an object with Pulumi's signature, and a value that only the update decides as one of a few
texts. `mapped` and `walk` decode what they meet, so that nobody else reads these marks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/sig/sig.go
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a mark, no secret)
RESOURCE_REFERENCE_SIGNATURE = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT_SIGNATURE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET_SIGNATURE = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIGNATURE = "0def7320c3a5731c473e5ecbe6d01bc7"
# https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/resource/plugin/rpc.go
UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Of a text, and of anything in the engine's events."""
UNKNOWN_MARKS = frozenset(
    {
        UNKNOWN_MARK,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
# The text of a secret in a state is JSON; on the wire the secret itself stands under `value`.
CIPHERTEXT, PLAINTEXT, VALUE = "ciphertext", "plaintext", "value"

Path = tuple[str | int, ...]
"""Keys and indices: a key may have dots of its own, as those of annotations do."""


@dataclass(frozen=True)
class Unknown:
    """A value that only the update decides; `mark` says of which type it is."""

    mark: str = UNKNOWN_MARK


@dataclass(frozen=True)
class Special:
    """A value that stands as an object with a signature; `fields` are the rest of that object, not decoded."""

    signature: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Secret(Special):
    """A secret, encrypted or open."""

    @property
    def is_encrypted(self) -> bool:
        return CIPHERTEXT in self.fields

    @property
    def value(self) -> Any:
        """What is secret, as JSON; KeyError where it is encrypted."""
        return self.fields[VALUE] if VALUE in self.fields else json.loads(self.fields[PLAINTEXT])


@dataclass(frozen=True)
class ResourceReference(Special):
    """A resource as a value: `urn`, and `id` where it has one and that is known."""


@dataclass(frozen=True)
class OutputValue(Special):
    """An output: `value` where it is known, `secret`, `dependencies`."""


@dataclass(frozen=True)
class Asset(Special):
    """A file or an archive of files: `hash`, and `path`, `text`, `uri` or `assets`."""


TYPES: Mapping[str, type[Special]] = {
    SECRET_SIGNATURE: Secret,
    RESOURCE_REFERENCE_SIGNATURE: ResourceReference,
    OUTPUT_SIGNATURE: OutputValue,
    ASSET_SIGNATURE: Asset,
    ARCHIVE_SIGNATURE: Asset,
}


def secret(value: Any) -> Secret:
    """An open secret, as a state has it."""
    return Secret(SECRET_SIGNATURE, {PLAINTEXT: json.dumps(value)})


def decode(value: Any) -> Any:
    """A special value as one of the types above; any other is returned as it is, with what is within it."""
    if isinstance(value, str):
        return Unknown(value) if value in UNKNOWN_MARKS else value
    if isinstance(value, dict) and SIGNATURE in value:
        signature = value[SIGNATURE]
        fields = {key: each for key, each in value.items() if key != SIGNATURE}
        return TYPES.get(signature, Special)(signature, fields)
    return value


def encode(value: Any) -> Any:
    """The opposite of `decode`."""
    if isinstance(value, Special):
        return {SIGNATURE: value.signature, **value.fields}
    return value.mark if isinstance(value, Unknown) else value


def mapped(value: Any, change: Callable[[Any, Path], Any], path: Path = ()) -> Any:
    """The same objects and lists, with what `change` makes of each scalar and of each special value in them.

    `change` is given the decoded value and its path, and may return it as it is. What is within a special value is
    its own to look at.
    """
    if isinstance(value, dict):
        if SIGNATURE not in value:
            return {key: mapped(each, change, (*path, key)) for key, each in value.items()}
    elif isinstance(value, list):
        return [mapped(each, change, (*path, index)) for index, each in enumerate(value)]
    special = isinstance(value, dict) or (isinstance(value, str) and value in UNKNOWN_MARKS)
    found = change(decode(value) if special else value, path)
    return encode(found) if isinstance(found, Special | Unknown) else found


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each scalar and each special value, decoded, with its path; an empty object or list is a value, too."""
    if isinstance(value, dict) and value and SIGNATURE not in value:
        for key, each in value.items():
            yield from walk(each, (*path, key))
    elif isinstance(value, list | tuple) and value:
        for index, each in enumerate(value):
            yield from walk(each, (*path, index))
    else:
        yield path, decode(value)


def opened(value: Any) -> Any:
    """Properties of a decrypted state as plain values; KeyError where a secret is encrypted."""
    return mapped(value, lambda each, _: each.value if isinstance(each, Secret) else each)


def has_encrypted(value: Any) -> bool:
    """Whether any secret in it is encrypted. Not by `walk`: of a whole state, its paths take three times as long."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if SIGNATURE not in each:
                waiting.extend(each.values())
            elif isinstance(found := decode(each), Secret) and found.is_encrypted:
                return True
        elif isinstance(each, list):
            waiting.extend(each)
    return False


MISSING = object()
"""Stands in a difference where there is no value; equal to none."""

Pairs = Iterable[tuple[str | int, Any, Any]]
"""The items of two lists that are compared with each other, and how the path names them."""


@dataclass(frozen=True)
class ValueDifference:
    """A value that is another in two trees, or that one of them does not have."""

    path: Path
    old: Any
    new: Any


def by_index(old: list[Any], new: list[Any]) -> Pairs:
    """Item against item; what is longer has items of its own at its end."""
    pairs = zip_longest(old, new, fillvalue=MISSING)
    return ((index, before, after) for index, (before, after) in enumerate(pairs))


def by_index_if_as_long(old: list[Any], new: list[Any]) -> Pairs | None:
    """Item against item; lists of different lengths as a whole."""
    return by_index(old, new) if len(old) == len(new) else None


def by_name(old: list[Any], new: list[Any]) -> Pairs:
    """By their `name` where every item has one: one that is put in front changes none of the others."""
    before, after = _names(old), _names(new)
    if not before or not after or list(before) == list(after):
        return by_index(old, new)
    names = dict.fromkeys([*before, *after])
    return ((name, before.get(name, MISSING), after.get(name, MISSING)) for name in names)


def _names(items: list[Any]) -> dict[str, Any]:
    """The items by name; none where one has no name, or another's."""
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    unique = None not in names and len(set(names)) == len(names)
    return {str(name): item for name, item in zip(names, items, strict=True)} if unique else {}


def differences(
    old: Any,
    new: Any,
    path: Path = (),
    *,
    lists: Callable[[list[Any], list[Any]], Pairs | None] = by_index,
    notes: bool = True,
) -> Iterator[ValueDifference]:
    """Where `new` is not `old`, in the order of `old`; a secret is compared as a whole.

    Equality is that of JSON: true is not 1, as it is to Python. `lists` says which items are compared with each other.
    Without `notes`, keys that begin with `__` are left out: the providers' own.
    """
    if isinstance(old, dict) and isinstance(new, dict) and not (is_secret(old) or is_secret(new)):
        for key in dict.fromkeys([*old, *new]):
            if notes or not key.startswith("__"):
                pair = old.get(key, MISSING), new.get(key, MISSING)
                yield from differences(*pair, (*path, key), lists=lists, notes=notes)
    elif isinstance(old, list) and isinstance(new, list) and (pairs := lists(old, new)) is not None:
        for name, before, after in pairs:
            yield from differences(before, after, (*path, name), lists=lists, notes=notes)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield ValueDifference(path, old, new)


def is_secret(value: Any) -> bool:
    """Whether a value that is not decoded stands for a secret."""
    return isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET_SIGNATURE


def same(one: Any, other: Any) -> bool:
    """Whether the two are the same JSON."""
    return next(differences(one, other), None) is None
