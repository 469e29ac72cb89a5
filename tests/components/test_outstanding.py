"""The SDK waits for all outputs of a program, without beginning anew for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pulumi
import pytest
from pulumi.runtime.settings import SETTINGS

from components.program import wait_at_once

OUTPUTS = 200


@pytest.fixture
def waited_for(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many futures each wait of the event loop was."""
    numbers: list[int] = []
    wait = asyncio.wait

    async def counted(futures: Iterable[Any], **more: Any) -> Any:
        listed = list(futures)
        numbers.append(len(listed))
        return await wait(listed, **more)

    monkeypatch.setattr(asyncio, "wait", counted)
    return numbers


def one_after_the_other(done: list[int], *, fails_at: int = OUTPUTS) -> None:
    """Outputs that are known one by one, and one more of each, which only then exists."""

    async def known(number: int) -> int:
        for _ in range(number):
            await asyncio.sleep(0)
        if number == fails_at:
            raise pulumi.RunError(f"output {number} is wrong")
        return number

    def later(number: int) -> pulumi.Output[int]:
        return pulumi.Output.from_input(number).apply(remember)

    def remember(number: int) -> int:
        done.append(number)
        return number

    made: list[pulumi.Output[int]] = []
    for number in range(OUTPUTS):
        output: pulumi.Output[int] = pulumi.Output.from_input(number).apply(known)
        made.append(output.apply(later))


@pytest.mark.parametrize(("at_once", "most"), [(True, 10 * OUTPUTS), (False, None)])
def test_all_outputs_are_known_before_the_program_ends(
    declare: Callable[..., Any], waited_for: list[int], *, at_once: bool, most: int | None
) -> None:
    done: list[int] = []

    def program() -> None:
        one_after_the_other(done)
        if at_once:
            wait_at_once()

    declare(program)
    assert sorted(done) == list(range(OUTPUTS))
    assert not SETTINGS.outputs
    if most:
        assert sum(waited_for) < most
    else:
        assert sum(waited_for) > 50 * OUTPUTS, "the SDK has changed: this module has no purpose any more"


def test_an_output_that_fails_ends_the_program_at_once(declare: Callable[..., Any]) -> None:
    done: list[int] = []

    def program() -> None:
        one_after_the_other(done, fails_at=9)
        wait_at_once()

    with pytest.raises(pulumi.RunError, match="output 9 is wrong"):
        declare(program)
    assert len(done) < OUTPUTS // 2


def test_a_program_without_outputs_ends(declare: Callable[..., Any]) -> None:
    declare(wait_at_once)
    assert not SETTINGS.outputs
