"""A rollback that is killed is remembered, one that ends is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.backend import Entry, Kind, Rollback
from slipway.deploy.recovery import MESSAGE
from slipway.rollback.unfinished import Begun, recall, remembered
from slipway.stack import Stack
from tests.slipway.opened import stack_in

THEN = datetime(2030, 1, 2, tzinfo=UTC)
SIX, SEVEN = (Entry(number, Kind.UPDATE, succeeded=True, started=THEN) for number in (6, 7))
RECOVERED = Entry(8, Kind.REFRESH, succeeded=True, started=THEN, message=MESSAGE)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    return stack_in(tmp_path)


def test_what_was_killed_goes_on_to_where_it_was_on_its_way(dev: Stack) -> None:
    killed = remembered(dev, Begun(7, 3, ("a", "b")))
    killed.__enter__()
    assert recall(dev, [SIX, SEVEN], ("b", "a")) == 3
    assert recall(dev, [SIX, SEVEN, RECOVERED], ("a", "b")) == 3, "that was the kill's own recovery"
    assert recall(dev, [SIX, SEVEN], ()) is None, "of all services it was not"
    assert recall(replace(dev, name="prod"), [SIX, SEVEN], ("a", "b")) is None
    for since in (replace(SEVEN, number=8), replace(RECOVERED, message="by hand")):
        assert recall(dev, [SIX, SEVEN, since], ("a", "b")) is None, "there was an update since"


def test_an_engine_that_was_killed_leaves_no_word_either(dev: Stack) -> None:
    with remembered(dev, Begun(7, 3)) as killed:
        killed()
    assert recall(dev, [SEVEN, RECOVERED], ()) == 3


def test_one_that_was_interrupted_is_in_the_history_as_failed(dev: Stack) -> None:
    with remembered(dev, Begun(7, 3)) as cut_off:
        cut_off()
    own = Entry(8, Kind.ROLLBACK, succeeded=False, started=THEN, rollback=Rollback(7, 3))
    assert recall(dev, [SEVEN, own], ()) == 3
    assert recall(dev, [SEVEN, replace(own, succeeded=True)], ()) is None
    assert recall(dev, [SEVEN, replace(own, rollback=Rollback(7, 2))], ()) is None


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_what_ended_has_its_word_in_the_history(dev: Stack, error: type[BaseException] | None) -> None:
    try:
        with remembered(dev, Begun(7, 3)):
            assert recall(dev, [SEVEN], ()) == 3
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        assert error
    assert recall(dev, [SEVEN], ()) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": 7}', '{"source": 7, "target": 3, "more": 1}'])
def test_another_file_says_nothing(dev: Stack, text: str) -> None:
    file = dev.own_file("rollbacks")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert recall(dev, [SEVEN], ()) is None
