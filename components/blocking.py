"""Runs blocking calls off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = ThreadPoolExecutor(16, "slipway")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `asyncio.to_thread`, in threads of our own.

    The SDK waits in the event loop's threads until the engine has registered resources. With many resources it uses all
    of them, while the engine waits for the result of a hook or a rollout.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))
