"""Rollouts are waited for, all in one reading, soon at first and at most twice a second; then the checks run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import pulumi
import pytest

from components import rollouts
from components.rollouts import AwaitedRollouts, checks_annotation, verified
from services.spec import Check
from slipway.cluster.checks import Answer
from slipway.cluster.client import ForbiddenError
from slipway.cluster.rollouts import Rollout, RolloutError

Answered = TypeVar("Answered")
WEB = pulumi.resource.DependencyResource("urn:pulumi:dev::shop::kubernetes:apps/v1:Deployment::web")


@dataclass
class Cluster:
    """Which Deployments are complete, reading by reading; after the last one all are."""

    readings: list[set[str]]
    asked: list[set[str]] = field(default_factory=list)
    status: dict[Rollout, str] = field(default_factory=dict)

    def complete(self, waiting: Collection[Rollout]) -> set[Rollout]:
        self.asked.append({each.name for each in waiting})
        names = self.readings.pop(0) if self.readings else self.asked[-1]
        if "failed" in names:
            raise RolloutError("web does not become ready")
        return {each for each in waiting if each.name in names}


@pytest.fixture
def awaited(monkeypatch: pytest.MonkeyPatch) -> AwaitedRollouts:
    monkeypatch.setattr(rollouts, "_is_update", lambda: True)
    monkeypatch.setattr(rollouts, "FIRST_POLL_SECONDS", 0.001)
    return AwaitedRollouts(None)


def run(coroutine: Coroutine[Any, Any, Answered]) -> Answered:
    """In a loop of its own: `asyncio.run` would leave the thread without the one that Pulumi goes on with."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def wait(awaited: AwaitedRollouts, cluster: Cluster, *names: str) -> list[bool | BaseException]:
    awaited._live = cluster  # type: ignore[assignment]

    async def all_of_them() -> list[bool | BaseException]:
        waits = (awaited._wait(WEB, {"namespace": "shop", "name": name}) for name in names)
        return await asyncio.gather(*waits, return_exceptions=True)

    return run(all_of_them())


def test_all_share_each_reading_until_they_are_complete(awaited: AwaitedRollouts) -> None:
    cluster = Cluster([set(), {"web"}, {"api"}])
    assert wait(awaited, cluster, "web", "api") == [True, True]
    assert cluster.asked == [{"web", "api"}, {"web", "api"}, {"api"}]


def test_one_that_comes_later_is_read_at_once(awaited: AwaitedRollouts) -> None:
    cluster = Cluster([])
    awaited._live = cluster  # type: ignore[assignment]

    async def one_after_the_other() -> None:
        for name in ("web", "api"):
            await awaited._wait(WEB, {"namespace": "shop", "name": name})

    run(asyncio.wait_for(one_after_the_other(), rollouts.POLL_SECONDS))
    assert cluster.asked == [{"web"}, {"api"}]


def test_one_failure_ends_all_waits(awaited: AwaitedRollouts) -> None:
    ended = wait(awaited, Cluster([set(), {"failed"}]), "web", "api")
    assert [str(each) for each in ended] == ["web does not become ready"] * 2
    assert all(isinstance(each, pulumi.RunError) for each in ended)


def test_pauses_grow_up_to_half_a_second() -> None:
    first, *others = islice(rollouts._pauses(), 10)
    assert first == rollouts.FIRST_POLL_SECONDS
    assert others == sorted(others)
    assert others[-1] == rollouts.POLL_SECONDS


def test_checks_are_recorded_as_they_were_written() -> None:
    checks = [Check(get="/users", has="users"), Check(get="/none", status=404)]
    checks.append(Check.model_validate({"post": "/users", "body": {"name": None}, "json": {"$.id": None}}))
    checks.append(Check.model_validate({"head": "/", "headers": {"Host": "a"}, "timeoutSeconds": 90}))
    assert [Check.model_validate(each) for each in json.loads(checks_annotation(checks))] == checks


def test_a_cluster_that_lets_nobody_ask_is_no_failed_check(declare: Callable[..., Any]) -> None:
    def ask(*_: object) -> list[Answer]:
        raise ForbiddenError("pods/portforward is not allowed")

    with pytest.raises(pulumi.RunError) as raised:
        declare(lambda: verified([], {"a": [Check(get="/")]}, lambda: ask, 30, next_step="Look."))
    assert str(raised.value) == "The checks cannot run: pods/portforward is not allowed"


def test_a_failing_check_is_reported_with_the_log_of_its_service(declare: Callable[..., Any]) -> None:
    checks = {"user-service": [Check(get="/users", has="users")], "order-service": [Check(get="/orders")]}

    def ask(service: str, check: Check, _timeout_seconds: float) -> list[Answer]:
        if service == "order-service":
            return [Answer(200, "[]", "order-1")]
        return [Answer(200, "users", "user-1"), Answer(500, f"no {check.path}", "user-2")]

    def program() -> None:
        verified([], checks, lambda: ask, 0, next_step="Look.", recent_logs=lambda service: [f"{service} fell over"])

    with pytest.raises(pulumi.RunError) as raised:
        declare(program)
    assert str(raised.value).splitlines() == [
        "1 of 2 checks failed:",
        "  user-service: GET /users of pod user-2 answered 500: no /users; expected status 200 "
        "(1 of 2 pods, asked 1 time in 0 s)",
        "    log user-service:",
        "      | user-service fell over",
        "Look.",
    ]
