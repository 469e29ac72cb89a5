"""Outputs that wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from pulumi import Output

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
