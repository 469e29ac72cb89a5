"""The messages that cross the engine are known again by what is read of them."""

from __future__ import annotations

from slipway.engine.messages import CHECKS_FAILED, checks_failed


def test_failed_checks_are_known_by_what_is_written_of_them() -> None:
    assert CHECKS_FAILED.match(checks_failed(1, 2))
