"""What the state has forgotten comes back into it in a form that the engine takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slipway.cluster import ClusterError
from slipway.history import History
from slipway.state.checkpoint import Recorded
from slipway.updates import forgotten
from slipway.updates.forgotten import remembered
from slipway.updates.recovery import unsure

PREFIX = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes"
MAP, SERVICE = f"{PREFIX}:core/v1:ConfigMap::api", f"{PREFIX}:core/v1:Service::api"
DEPLOYMENT = f"{PREFIX}:apps/v1:Deployment::api"
PROVIDER = "urn:pulumi:dev::slipway::pulumi:providers:kubernetes::dev"


def raw(urn: str, **more: Any) -> dict[str, Any]:
    return {
        "urn": urn,
        "type": urn.split("::")[2].rsplit("$", maxsplit=1)[-1],
        "custom": True,
        "id": "slipway-dev/api",
        **more,
    }


def test_it_is_under_the_present_provider_behind_what_is_still_there_and_has_to_be_read() -> None:
    gone = Recorded(
        raw(
            MAP,
            provider=f"{PROVIDER}::of-then",
            dependencies=[SERVICE, f"{SERVICE}-gone"],
            propertyDependencies={"data": [SERVICE, f"{SERVICE}-gone"]},
        )
    )
    user = raw(DEPLOYMENT, provider=f"{PROVIDER}::of-now", dependencies=[MAP])
    provider = raw(PROVIDER) | {"id": "of-now"}
    present = {"manifest": {}, "resources": [provider, user, raw(SERVICE, provider=f"{PROVIDER}::of-now")]}
    state = remembered(present, {MAP: gone})
    order = [each["urn"] for each in state["resources"]]
    assert sorted(order) == sorted([PROVIDER, SERVICE, MAP, DEPLOYMENT])
    assert order.index(PROVIDER) < order.index(SERVICE) < order.index(MAP) < order.index(DEPLOYMENT)
    (back,) = (each for each in state["resources"] if each["urn"] == MAP)
    assert back["provider"] == f"{PROVIDER}::of-now"
    assert (back["dependencies"], back["propertyDependencies"]) == ([SERVICE], {"data": [SERVICE]})
    assert unsure(state) == [MAP]
    assert present["resources"][1] is user


def test_where_the_cluster_gives_no_answer_the_failure_of_the_update_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {1: {"resources": [raw(SERVICE)]}}
    history = SimpleNamespace(numbers=(1,), present=lambda: {"resources": [raw(DEPLOYMENT)]}, checkpoint=states.get)
    asked: list[str] = []

    def silent(*_: object) -> dict[str, Recorded]:
        asked.append("the cluster")
        raise ClusterError("connection refused")

    monkeypatch.setattr(History, "open", lambda *_: history)
    monkeypatch.setattr(forgotten, "_still_there", silent)
    session: Any = SimpleNamespace(engine=None, project=None)
    assert not forgotten.restore(session, "dev", {SERVICE: "slipway-dev/api", DEPLOYMENT: "slipway-dev/api"})
    assert asked == ["the cluster"], "what the state has is not asked for"
