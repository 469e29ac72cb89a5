"""Checks are retried until they are met or their time is over, and say what they met."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from services.spec import Check
from slipway.cluster.checks import Answer, failing, recorded_checks, unmet


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("check", "answer", "reason"),
    [
        (Check(get="/a"), Answer(200, "ok"), ""),
        (Check(get="/a", has="users"), Answer(200, '{"users": []}'), ""),
        (Check(get="/a", status=404), Answer(404, "no such user"), ""),
        (Check(get="/a"), Answer(500, "boom\n  at line 3"), "answered 500: boom at line 3; wanted status 200"),
        (Check(get="/a", has="x"), Answer(200, "y"), "answered 200: y; wanted a body that has 'x'"),
        (Check(get="/a"), Answer(None, "connection refused"), "did not answer: connection refused; wanted status 200"),
    ],
)
def test_an_answer_is_held_against_the_check(check: Check, answer: Answer, reason: str) -> None:
    assert unmet(check, answer) == reason


def test_a_long_body_is_cut() -> None:
    assert len(str(Answer(500, "x" * 10_000))) < 350


def test_an_answer_shows_no_secret_and_does_nothing_to_a_terminal() -> None:
    """A service that fails may quote the address of its database."""
    shown = str(Answer(500, "\x1b[2Jno route: " + "x" * 250 + " postgresql://app:hunter2-and-more@db/orders"))
    assert "hunter2" not in shown
    assert "\x1b" not in shown
    assert "no route" in shown


def test_a_check_that_comes_good_is_met() -> None:
    answers = iter([Answer(None, "refused"), Answer(503, ""), Answer(200, "")])
    clock = Clock()
    assert failing({"a": [Check(get="/")]}, lambda *_: next(answers), 30, clock=clock, sleep=clock.sleep) == []
    assert len(clock.slept) == 2


def test_a_check_that_never_comes_good_is_given_up_at_its_deadline() -> None:
    clock = Clock()
    (line,) = failing({"a": [Check(get="/x")]}, lambda *_: Answer(500, "no"), 10, clock=clock, sleep=clock.sleep)
    assert line == "a: GET /x answered 500: no; wanted status 200 (asked 20 times in 10 s)"
    assert clock.now <= 10


def test_every_failing_check_is_listed() -> None:
    clock = Clock()
    wanted = {"a": [Check(get="/1"), Check(get="/2")], "b": [Check(get="/3")]}

    def ask(service: str, path: str) -> Answer:
        return Answer(200 if path == "/2" else 500, service)

    lines = failing(wanted, ask, 0.1, clock=clock, sleep=clock.sleep)
    assert [line.split(" answered")[0] for line in lines] == ["a: GET /1", "b: GET /3"]


def test_recorded_checks() -> None:
    assert recorded_checks('[{"get":"/users","status":200,"has":"users"}]') == [Check(get="/users", has="users")]
    for text in ("", "{}", '[{"get": "users"}]'):
        with pytest.raises(ValueError, match=r"\S"):
            recorded_checks(text)
