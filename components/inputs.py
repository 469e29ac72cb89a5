"""Inputs of resources, written as mappings, as classes of the SDK or as outputs; outputs that wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, TypeVar

import pulumi
from pulumi import Output, _types


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


T = TypeVar("T")


def after(value: Output[T], others: Iterable[Output[Any]]) -> Output[T]:
    """`value`, held back until all `others` are resolved.

    Unlike `depends_on` it leaves no dependency in the state: with n services that would be n² of them.
    """
    waited_for = [other.future() for other in others]
    return held_back(value, lambda: asyncio.gather(*waited_for))


def held_back(value: Output[T], wait: Callable[[], Awaitable[Any]]) -> Output[T]:
    """`value`, held back until the result of `wait` is done; it leaves no dependency in the state either."""

    async def waited() -> T:
        await wait()
        return await value.future()  # type: ignore[return-value]

    started = asyncio.ensure_future
    return Output(value.resources(), started(waited()), started(value.is_known()), started(value.is_secret()))


def unknown() -> Output[Any]:
    """An unknown output in a preview, for a value that only the update knows."""

    async def value(of: Any) -> Any:
        return of

    started = asyncio.ensure_future
    return Output(set(), started(value(None)), started(value(False)))
