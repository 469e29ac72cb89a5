"""Inputs of resources, which a program writes as mappings, as the SDK's classes, or as outputs of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any

import pulumi
from pulumi import _types


def plain(value: Any) -> Any:
    """An object of an SDK class as a mapping with the same keys, in Python's spelling; any other value unchanged.

    Fields that are None are left out: they are not set.
    """
    if not _types.is_input_type(type(value)):
        return value
    fields = _types.input_type_to_untranslated_dict(value)
    return {key: each for key, each in fields.items() if each is not None}


def changed(value: Any, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Any:
    """The mapping `value`, which may be an output, changed by `change`; `None` counts as an empty mapping."""
    if isinstance(value, pulumi.Output) or isawaitable(value):
        return pulumi.Output.from_input(value).apply(lambda known: changed(known, change))
    mapping = plain(value)
    if mapping is None or isinstance(mapping, Mapping):
        return change(dict(mapping or {}))
    return value  # the provider says what is wrong with it


def key_of(mapping: Mapping[str, Any], camel: str) -> str:
    """The key of field `camel` in `mapping`: Python's spelling if `mapping` has it, else Kubernetes' own."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel)
    return snake if snake in mapping else camel
