"""The messages that cross the engine, against what `policy/` writes without knowing of them."""

from __future__ import annotations

from policy import report
from slipway.engine.messages import CHECKS_FAILED, POLICY_ERROR, POLICY_VIOLATION, checks_failed


def test_policies_begin_their_messages_as_they_are_told_apart() -> None:
    assert (report.REFUSAL.strip(), report.ERROR.strip()) == (POLICY_VIOLATION, POLICY_ERROR)


def test_failed_checks_are_known_by_what_is_written_of_them() -> None:
    assert CHECKS_FAILED.match(checks_failed(1, 2))
