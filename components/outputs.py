"""Outputs that wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from pulumi import Output

T = TypeVar("T")


def after(value: Output[T], others: Iterable[Output[Any]]) -> Output[T]:
    """`value`, held back until all `others` are there.

    Unlike `depends_on` it leaves no dependency in the state: with n services that would be n² of them.
    """
    waited_for = [other.future() for other in others]

    async def held_back() -> T:
        await asyncio.gather(*waited_for)
        return await value.future()  # type: ignore[return-value]

    started = asyncio.ensure_future
    return Output(value.resources(), started(held_back()), started(value.is_known()), started(value.is_secret()))
