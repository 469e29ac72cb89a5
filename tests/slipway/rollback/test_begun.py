"""A rollback that is killed is remembered, one that ends is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway.rollback.begun import Begun, recall, remembered


@pytest.fixture
def session(tmp_path: Path) -> Any:
    return SimpleNamespace(own_file=lambda kind, stack: tmp_path / kind / f"{stack}.json")


def test_what_was_killed_goes_on_to_where_it_was_on_its_way(session: Any) -> None:
    killed = remembered(session, "dev", Begun(7, 3, ("a", "b")))
    killed.__enter__()
    assert recall(session, "dev", 7, ("b", "a")) == 3
    assert recall(session, "dev", 7, ()) is None, "of all services it was not"
    assert recall(session, "dev", 8, ("a", "b")) is None, "there was an update since"
    assert recall(session, "prod", 7, ("a", "b")) is None


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_what_ended_has_its_word_in_the_history(session: Any, error: type[BaseException] | None) -> None:
    try:
        with remembered(session, "dev", Begun(7, 3)):
            assert recall(session, "dev", 7, ()) == 3
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        assert error
    assert recall(session, "dev", 7, ()) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": 7}', '{"source": 7, "target": 3, "more": 1}'])
def test_another_file_says_nothing(session: Any, text: str) -> None:
    file = session.own_file("rollbacks", "dev")
    file.parent.mkdir()
    file.write_text(text)
    assert recall(session, "dev", 7, ()) is None
