"""Decodes, encodes and compares Pulumi's special values in resource properties; no other module does. Pure.

Properties are JSON: on the wire, in a state, in the engine's events. A secret, an asset, a reference to a resource or
an output is an object with Pulumi's signature. A value that is unknown until the update is one of a few texts. `mapped`
and `walk` decode these values, so that no other code reads the marks.
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
"""Marks an unknown text, and any unknown value in the engine's events."""
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
# In a state, the text of a secret is JSON; on the wire, `value` holds the secret itself.
CIPHERTEXT, PLAINTEXT, VALUE = "ciphertext", "plaintext", "value"

Path = tuple[str | int, ...]
"""Keys and indices: a key may contain dots, as annotation keys do."""


@dataclass(frozen=True)
class Unknown:
    """A value that is unknown until the update; `mark` says which type it has."""

    mark: str = UNKNOWN_MARK


@dataclass(frozen=True)
class Special:
    """A value encoded as an object with a signature; `fields` are the rest of that object, not decoded."""

    signature: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Secret(Special):
    """A secret, encrypted or in plaintext."""

    @property
    def is_encrypted(self) -> bool:
        return CIPHERTEXT in self.fields

    @property
    def value(self) -> Any:
        """The secret's value, as JSON; raises KeyError if it is encrypted."""
        return self.fields[VALUE] if VALUE in self.fields else json.loads(self.fields[PLAINTEXT])


@dataclass(frozen=True)
class ResourceReference(Special):
    """A resource as a value: `urn`, and `id` if it has one that is known."""


@dataclass(frozen=True)
class OutputValue(Special):
    """An output: `value` if it is known, `secret`, `dependencies`."""


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
    """A secret in plaintext, as a state has it."""
    return Secret(SECRET_SIGNATURE, {PLAINTEXT: json.dumps(value)})


def decode(value: Any) -> Any:
    """A special value as one of the types above; any other value is returned unchanged, with all values in it."""
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
    """The same objects and lists, with each scalar and each special value in them replaced by the result of `change`.

    `change` gets the decoded value and its path, and may return it unchanged. Values inside a special value are not
    visited.
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
    """Each scalar and each special value, decoded, with its path; an empty object or list is a value too."""
    if isinstance(value, dict) and value and SIGNATURE not in value:
        for key, each in value.items():
            yield from walk(each, (*path, key))
    elif isinstance(value, list | tuple) and value:
        for index, each in enumerate(value):
            yield from walk(each, (*path, index))
    else:
        yield path, decode(value)


def opened(value: Any) -> Any:
    """Properties of a decrypted state as plain values; raises KeyError if a secret is encrypted."""
    return mapped(value, lambda each, _: each.value if isinstance(each, Secret) else each)


def has_encrypted(value: Any) -> bool:
    """Whether any secret in `value` is encrypted. Not with `walk`: its paths take three times as long for a state."""
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
"""Marks a missing value in a difference; not equal to any value."""

Pairs = Iterable[tuple[str | int, Any, Any]]
"""The items of two lists to compare with each other, and their names in the path."""


@dataclass(frozen=True)
class ValueDifference:
    """A value that differs between two trees, or that one of them does not have."""

    path: Path
    old: Any
    new: Any


def by_index(old: list[Any], new: list[Any]) -> Pairs:
    """Pair the items by index; the extra items of the longer list have no counterpart."""
    pairs = zip_longest(old, new, fillvalue=MISSING)
    return ((index, before, after) for index, (before, after) in enumerate(pairs))


def by_index_if_as_long(old: list[Any], new: list[Any]) -> Pairs | None:
    """Pair the items by index; `None` for different lengths: compare these lists as a whole."""
    return by_index(old, new) if len(old) == len(new) else None


def by_name(old: list[Any], new: list[Any]) -> Pairs:
    """Pair by `name` if every item has one, so that an item inserted in front changes no other; else by index."""
    before, after = _names(old), _names(new)
    if not before or not after or list(before) == list(after):
        return by_index(old, new)
    names = dict.fromkeys([*before, *after])
    return ((name, before.get(name, MISSING), after.get(name, MISSING)) for name in names)


def _names(items: list[Any]) -> dict[str, Any]:
    """The items by name; empty if an item has no name, or the name of another."""
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
    """The differences between `old` and `new`, in the order of `old`; a secret is compared as a whole.

    Equality is that of JSON: true is not 1, unlike in Python. `lists` says which items are compared with each other.
    Without `notes`, keys that begin with `__` are left out: they are the providers' own.
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
    """Whether a value that is not decoded is a secret."""
    return isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET_SIGNATURE


def same(one: Any, other: Any) -> bool:
    """Whether the two are the same JSON."""
    return next(differences(one, other), None) is None
