"""Checks are retried until they are met or their time is over, and say what they met."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.spec import Check
from slipway.cluster.checks import Answer, Endpoint, endpoints, failing, recorded_checks, unmet


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


def json_check(values: dict[str, Any]) -> Check:
    return Check.model_validate({"get": "/a", "json": values})


@pytest.mark.parametrize(
    ("check", "answer", "reason"),
    [
        (Check(get="/a"), Answer(200, "ok"), ""),
        (Check(get="/a", has="users"), Answer(200, '{"users": []}'), ""),
        (Check(get="/a", status=404), Answer(404, "no such user"), ""),
        (Check(get="/a"), Answer(500, "boom\n  at line 3"), "answered 500: boom at line 3; expected status 200"),
        (Check(get="/a", has="x"), Answer(200, "y"), "answered 200: y; expected a body that has 'x'"),
        (Check(get="/a", status=302), Answer(302, ""), ""),
        (Check(head="/a"), Answer(200, ""), ""),
        (
            json_check({"$.total": 0, "$.users[0].name": "Ada"}),
            Answer(200, '{"total": 0, "users": [{"name": "Ada"}]}'),
            "",
        ),
        (json_check({"$": [1, {"a": None}]}), Answer(200, '[1.0, {"a": null}]'), ""),
        (json_check({"$[-1]": True}), Answer(200, "[false, true]"), ""),
        (
            json_check({"$.up": True}),
            Answer(200, '{"up": 1}'),
            'answered 200: {"up": 1}; expected true at $.up, which is 1',
        ),
        (
            json_check({"$.users[1]": 1}),
            Answer(200, '{"users": [1]}'),
            'answered 200: {"users": [1]}; expected 1 at $.users[1], which does not exist',
        ),
        (
            json_check({"$.a.b": 1}),
            Answer(200, '{"a": "text"}'),
            'answered 200: {"a": "text"}; expected 1 at $.a.b, which does not exist',
        ),
        (json_check({"$.a": 1}), Answer(200, "<html>"), "answered 200: <html>; expected a body that is JSON"),
        (
            Check(get="/a"),
            Answer(None, "connection refused"),
            "did not answer: connection refused; expected status 200",
        ),
    ],
)
def test_an_answer_is_compared_with_the_check(check: Check, answer: Answer, reason: str) -> None:
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
    assert failing({"a": [Check(get="/")]}, lambda *_: [next(answers)], 30, clock=clock, sleep=clock.sleep) == []
    assert len(clock.slept) == 2


def test_a_check_that_never_comes_good_is_given_up_at_its_deadline() -> None:
    clock = Clock()
    (line,) = failing({"a": [Check(get="/x")]}, lambda *_: [Answer(500, "no")], 10, clock=clock, sleep=clock.sleep)
    assert line == "a: GET /x answered 500: no; expected status 200 (asked 20 times in 10 s)"
    assert clock.now <= 10


def test_what_was_answered_is_reported_where_the_last_request_had_too_little_time() -> None:
    """As on a machine with much to do: the deadline left the last request half a second."""
    clock = Clock()

    def ask(_service: str, _check: Check, timeout_seconds: float) -> list[Answer]:
        return [Answer(200, "3 users") if timeout_seconds >= 5 else Answer(None, "silent")]

    (line,) = failing({"a": [Check(get="/x", has="0 users")]}, ask, 10, clock=clock, sleep=clock.sleep)
    assert line == "a: GET /x answered 200: 3 users; expected a body that has '0 users' (asked 20 times in 10 s)"
    (line,) = failing({"a": [Check(get="/x")]}, lambda *_: [Answer(None, "no")], 10, clock=clock, sleep=clock.sleep)
    assert "did not answer: no" in line


def test_one_pod_that_answers_differently_is_named() -> None:
    clock = Clock()
    answers = [Answer(200, "ok", "a-1"), Answer(404, "old", "a-2"), Answer(200, "ok", "a-3")]
    (line,) = failing({"a": [Check(get="/x")]}, lambda *_: answers, 1, clock=clock, sleep=clock.sleep)
    assert line == "a: GET /x of pod a-2 answered 404: old; expected status 200 (1 of 3 pods, asked 2 times in 1 s)"


def test_a_check_has_a_deadline_of_its_own_and_an_answer_may_take_half_of_it() -> None:
    clock = Clock()
    patience: list[float] = []

    def ask(_service: str, _check: Check, timeout_seconds: float) -> list[Answer]:
        patience.append(timeout_seconds)
        clock.now += timeout_seconds
        return [Answer(None, "nothing")]

    wanted = {"a": [Check.model_validate({"get": "/x", "timeoutSeconds": 40})]}
    (line,) = failing(wanted, ask, 1, clock=clock, sleep=clock.sleep)
    assert line == "a: GET /x did not answer: nothing; expected status 200 (asked 2 times in 40 s)"
    assert patience == [20, 19.5]


def test_the_ready_pods_behind_a_service_are_those_of_its_endpoint_slices() -> None:
    def pod(name: str, **conditions: bool | None) -> dict[str, Any]:
        return {"targetRef": {"kind": "Pod", "name": name}, "conditions": conditions}

    def part(service: str, port: int, *pods: dict[str, Any]) -> dict[str, Any]:
        labels = {"kubernetes.io/service-name": service}
        ports = [{"name": "metrics", "port": 9}, {"name": "http", "port": port}]
        return {"metadata": {"labels": labels}, "ports": ports, "endpoints": list(pods)}

    slices = [
        part("a", 8080, pod("a-1", ready=True), pod("a-2", ready=False), pod("a-3"), {"addresses": ["10.0.0.1"]}),
        part("a", 8080, pod("a-1", ready=True)),  # its second address
        part("a", 9090, pod("a-4", ready=True)),  # the port has changed, and it is new
        part("b", 8080, pod("b-1", ready=True)),
        {"metadata": {"labels": {"kubernetes.io/service-name": "a"}}, "ports": None, "endpoints": None},
    ]
    wanted = [Endpoint("a-1", 8080), Endpoint("a-3", 8080), Endpoint("a-4", 9090)]
    assert endpoints(slices, "a") == wanted
    assert endpoints(slices, "c") == []


def test_every_failing_check_is_listed() -> None:
    clock = Clock()
    wanted = {"a": [Check(get="/1"), Check(get="/2")], "b": [Check(get="/3")]}

    def ask(service: str, check: Check, _timeout_seconds: float) -> list[Answer]:
        return [Answer(200 if check.path == "/2" else 500, service)]

    lines = failing(wanted, ask, 0.1, clock=clock, sleep=clock.sleep)
    assert [line.split(" answered")[0] for line in lines] == ["a: GET /1", "b: GET /3"]


def test_recorded_checks() -> None:
    assert recorded_checks('[{"get":"/users","status":200,"has":"users"}]') == [Check(get="/users", has="users")]
    for text in ("", "{}", '[{"get": "users"}]'):
        with pytest.raises(ValueError, match=r"\S"):
            recorded_checks(text)
