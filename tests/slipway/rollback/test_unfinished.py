"""A rollback that is killed is remembered, one that ends is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway.backend import Entry, Kind, Rollback
from slipway.deploy.recovery import MESSAGE
from slipway.rollback.unfinished import Begun, recall, remembered

THEN = datetime(2030, 1, 2, tzinfo=UTC)
SIX, SEVEN = (Entry(number, Kind.UPDATE, succeeded=True, started=THEN) for number in (6, 7))
RECOVERED = Entry(8, Kind.REFRESH, succeeded=True, started=THEN, message=MESSAGE)


@pytest.fixture
def session(tmp_path: Path) -> Any:
    return SimpleNamespace(own_file=lambda kind, stack: tmp_path / kind / f"{stack}.json")


def test_what_was_killed_goes_on_to_where_it_was_on_its_way(session: Any) -> None:
    killed = remembered(session, "dev", Begun(7, 3, ("a", "b")))
    killed.__enter__()
    assert recall(session, "dev", [SIX, SEVEN], ("b", "a")) == 3
    assert recall(session, "dev", [SIX, SEVEN, RECOVERED], ("a", "b")) == 3, "that was the kill's own recovery"
    assert recall(session, "dev", [SIX, SEVEN], ()) is None, "of all services it was not"
    assert recall(session, "prod", [SIX, SEVEN], ("a", "b")) is None
    for since in (replace(SEVEN, number=8), replace(RECOVERED, message="by hand")):
        assert recall(session, "dev", [SIX, SEVEN, since], ("a", "b")) is None, "there was an update since"


def test_an_engine_that_was_killed_leaves_no_word_either(session: Any) -> None:
    with remembered(session, "dev", Begun(7, 3)) as killed:
        killed()
    assert recall(session, "dev", [SEVEN, RECOVERED], ()) == 3


def test_one_that_was_interrupted_is_in_the_history_as_failed(session: Any) -> None:
    with remembered(session, "dev", Begun(7, 3)) as cut_off:
        cut_off()
    own = Entry(8, Kind.ROLLBACK, succeeded=False, started=THEN, rollback=Rollback(7, 3))
    assert recall(session, "dev", [SEVEN, own], ()) == 3
    assert recall(session, "dev", [SEVEN, replace(own, succeeded=True)], ()) is None
    assert recall(session, "dev", [SEVEN, replace(own, rollback=Rollback(7, 2))], ()) is None


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_what_ended_has_its_word_in_the_history(session: Any, error: type[BaseException] | None) -> None:
    try:
        with remembered(session, "dev", Begun(7, 3)):
            assert recall(session, "dev", [SEVEN], ()) == 3
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        assert error
    assert recall(session, "dev", [SEVEN], ()) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": 7}', '{"source": 7, "target": 3, "more": 1}'])
def test_another_file_says_nothing(session: Any, text: str) -> None:
    file = session.own_file("rollbacks", "dev")
    file.parent.mkdir()
    file.write_text(text)
    assert recall(session, "dev", [SEVEN], ()) is None
