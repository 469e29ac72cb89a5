"""A rollback that is killed is remembered, one that ends is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.backend import RollbackInfo, UpdateInfo, UpdateKind
from slipway.deploy.preparation import RECOVERY_MESSAGE
from slipway.rollback.target import UnfinishedRollback, mark_in_progress, resume_target
from slipway.stack import Stack
from tests.slipway.opened import stack_in

THEN = datetime(2030, 1, 2, tzinfo=UTC)
SIX, SEVEN = (UpdateInfo(number, UpdateKind.UPDATE, succeeded=True, started=THEN) for number in (6, 7))
RECOVERED = UpdateInfo(8, UpdateKind.REFRESH, succeeded=True, started=THEN, message=RECOVERY_MESSAGE)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    return stack_in(tmp_path)


def test_what_was_killed_goes_on_to_where_it_was_on_its_way(dev: Stack) -> None:
    killed = mark_in_progress(dev, UnfinishedRollback(7, 3, ("a", "b")))
    killed.__enter__()
    assert resume_target(dev, [SIX, SEVEN], ("b", "a")) == 3
    assert resume_target(dev, [SIX, SEVEN, RECOVERED], ("a", "b")) == 3, "that was the kill's own recovery"
    assert resume_target(dev, [SIX, SEVEN], ()) is None, "of all services it was not"
    assert resume_target(replace(dev, name="prod"), [SIX, SEVEN], ("a", "b")) is None
    for since in (replace(SEVEN, number=8), replace(RECOVERED, message="by hand")):
        assert resume_target(dev, [SIX, SEVEN, since], ("a", "b")) is None, "there was an update since"


def test_an_engine_that_was_killed_leaves_no_word_either(dev: Stack) -> None:
    with mark_in_progress(dev, UnfinishedRollback(7, 3)) as killed:
        killed()
    assert resume_target(dev, [SEVEN, RECOVERED], ()) == 3


def test_one_that_was_interrupted_is_in_the_history_as_failed(dev: Stack) -> None:
    with mark_in_progress(dev, UnfinishedRollback(7, 3)) as cut_off:
        cut_off()
    own = UpdateInfo(8, UpdateKind.ROLLBACK, succeeded=False, started=THEN, rollback=RollbackInfo(7, 3))
    assert resume_target(dev, [SEVEN, own], ()) == 3
    assert resume_target(dev, [SEVEN, replace(own, succeeded=True)], ()) is None
    assert resume_target(dev, [SEVEN, replace(own, rollback=RollbackInfo(7, 2))], ()) is None


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_what_ended_has_its_word_in_the_history(dev: Stack, error: type[BaseException] | None) -> None:
    try:
        with mark_in_progress(dev, UnfinishedRollback(7, 3)):
            assert resume_target(dev, [SEVEN], ()) == 3
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        assert error
    assert resume_target(dev, [SEVEN], ()) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": 7}', '{"source": 7, "target": 3, "more": 1}'])
def test_another_file_says_nothing(dev: Stack, text: str) -> None:
    file = dev.own_file("rollbacks")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert resume_target(dev, [SEVEN], ()) is None
