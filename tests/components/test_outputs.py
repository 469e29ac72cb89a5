"""What waits for outputs, and how often the SDK has to look at all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _sync_await

from components.debug_messages import drop_debug_messages
from components.outputs import export

PENDING = 60


class NoResources(Mocks):
    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if args.name == "refused":
            raise ValueError("the API server refuses it")
        return args.name, args.inputs

    def call(self, args: MockCallArgs) -> NoReturn:
        raise NotImplementedError(args)


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Runs a function as the engine's language host does, with a stack of its own."""

    def in_stack(function: Callable[[], None]) -> None:
        SETTINGS.outputs.clear()  # what a failed program has left
        pulumi.runtime.set_mocks(NoResources(), logger=logging.getLogger("engine"))
        pulumi.runtime.settings.set_root_resource(None)  # type: ignore[arg-type]
        _sync_await(run_in_stack(function))

    yield in_stack
    pulumi.runtime.settings.set_root_resource(None)  # type: ignore[arg-type]


async def later(turns: int) -> int:
    """`turns`, after that many turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0.001)
    return turns


def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much was waited for, each time that anything was."""
    seen: list[int] = []
    wait = asyncio.wait

    def counted(awaited: Any, **how: Any) -> Any:
        awaited = list(awaited)
        seen.append(len(awaited))
        return wait(awaited, **how)

    monkeypatch.setattr(asyncio, "wait", counted)
    return seen


def pending() -> list[pulumi.Output[int]]:
    """Values that come one after the other."""
    return [pulumi.Output.from_input(later(turn)) for turn in range(PENDING)]


def test_a_program_is_not_looked_through_anew_for_each_value(
    run: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(*, exported: bool) -> None:
        last = pulumi.Output.all(*pending()).apply(sum)
        export({"checks": last} if exported else {"name": "shop"})

    seen = waits(monkeypatch)
    run(lambda: program(exported=False))
    unknown_to_the_stack = sum(seen)
    seen.clear()
    run(lambda: program(exported=True))
    assert sum(seen) < unknown_to_the_stack / 4


def test_what_fails_is_raised_as_it_is(run: Callable[[Callable[[], None]], None]) -> None:
    async def broken() -> int:
        await asyncio.sleep(0.01)
        raise pulumi.RunError("checks failed")

    with pytest.raises(pulumi.RunError, match="checks failed"):
        run(lambda: export({"checks": pulumi.Output.from_input(broken())}))


def test_what_will_never_be_known_does_not_hide_what_failed(run: Callable[[Callable[[], None]], None]) -> None:
    """A rollout is waited for that never began, since its Deployment was refused."""

    async def never() -> int:
        await asyncio.Event().wait()
        return 0

    def program() -> None:
        pulumi.CustomResource("kubernetes:apps/v1:Deployment", "refused", {})
        export({"checks": pulumi.Output.from_input(never())})

    with pytest.raises(Exception, match="the API server refuses it"):
        run(program)


def test_debug_messages_reach_the_engine_only_when_asked_for(
    run: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "engine")
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)

    def program() -> None:
        drop_debug_messages()
        pulumi.log.debug("every property")
        pulumi.log.info("kept")

    def messages() -> int:
        caplog.clear()
        run(program)
        assert "kept" in caplog.messages
        return caplog.messages.count("every property")

    monkeypatch.setenv("SLIPWAY_DEBUG", "1")
    assert messages() == 1
    monkeypatch.delenv("SLIPWAY_DEBUG")
    assert messages() == 0
