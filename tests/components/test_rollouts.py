"""How rollouts are waited for: all of them in one reading, soon at first, and at most twice a second."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice

import pulumi
import pytest

from components import rollouts
from components.rollouts import AwaitedRollouts
from slipway.cluster.rollouts import Rollout, RolloutError

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


def wait(awaited: AwaitedRollouts, cluster: Cluster, *names: str) -> list[bool | BaseException]:
    awaited._live = cluster  # type: ignore[assignment]

    async def all_of_them() -> list[bool | BaseException]:
        waits = (awaited._wait(WEB, {"namespace": "shop", "name": name}) for name in names)
        return await asyncio.gather(*waits, return_exceptions=True)

    return asyncio.run(all_of_them())


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

    asyncio.run(asyncio.wait_for(one_after_the_other(), rollouts.POLL_SECONDS))
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
