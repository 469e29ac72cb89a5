"""The policies of a rollback ask for the build of each promoted image, wherever it was built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.backend import History
from slipway.backend.promotion import Promotion
from slipway.errors import ExitCode, SlipwayError
from slipway.rollback.plan import RollbackPlan
from slipway.rollback.run import _promoted_builds, _require_policies
from slipway.state.checkpoint import ResourceState
from tests.slipway.environments import REGISTRY, Environments
from tests.slipway.opened import stack_in


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    made = Environments(tmp_path)
    made.add("dev", images={"a": "a", "b": "b"})
    return made


def judged(environments: Environments, **images: Promotion) -> list[str]:
    """URNs of the builds that a rollback of prod to a state with these images was judged by; raises where refused."""
    environments.add("prod", images=images)
    stack = stack_in(environments.folder, "prod")
    history: History = stack.history()
    (number,) = history.numbers
    state = history.checkpoint(number)
    components = [ResourceState(raw) for raw in state["resources"] if raw["type"] == "slipway:index:ServiceImage"]
    assert len(components) == len(images)
    plan, target = RollbackPlan(tuple(components), {}, {}, ()), history.entry(number)
    _require_policies(plan, stack, target, {"slipway:registry": REGISTRY})
    return [raw["urn"].partition("docker-build:index:")[2] for raw in _promoted_builds(plan, stack, target)]


def refusal(environments: Environments, **images: Promotion) -> str:
    with pytest.raises(SlipwayError) as caught:
        judged(environments, **images)
    assert caught.value.code is ExitCode.POLICY
    assert "--break-glass" in caught.value.next_step
    return str(caught.value)


def test_builds_with_unit_tests_may_come_back(environments: Environments) -> None:
    found = judged(environments, a=environments.promotion("a", 1), b=environments.promotion("b", 1))
    assert found == ["Image::a-test", "Image::a", "Image::b-test", "Image::b"]


def test_the_build_is_found_through_every_environment_that_it_went_through(environments: Environments) -> None:
    environments.add("staging", images={"a": environments.promotion("a", 1)})
    onward = environments.promotion("a", 1, source="staging")
    assert judged(environments, a=onward) == ["Image::a-test", "Image::a"]


def test_a_build_without_unit_tests_may_not(environments: Environments) -> None:
    environments.add("dev", images={"a": "c"}, tested=False)
    told = refusal(environments, a=environments.promotion("c", 2))
    assert told.startswith("The policies forbid a rollback of prod to #1: The image of a in update #2 of dev has ")
    assert "no build whose unit tests passed" in told


def test_a_build_that_today_s_rules_forbid_may_not(environments: Environments) -> None:
    (file,) = (environments.folder / ".pulumi" / "history" / "slipway" / "dev").glob("*.checkpoint.json")
    file.write_text(file.read_text().replace(f"{REGISTRY}/a:1", f"{REGISTRY}/a:latest"))
    told = refusal(environments, a=environments.promotion("a", 1))
    assert "image-tag-fixed" in told


def test_a_digest_that_the_update_did_not_build_may_not(environments: Environments) -> None:
    assert "that update has sha256:aaaa" in refusal(environments, a=environments.promotion("b", 1))


def test_a_record_without_its_source_may_not(environments: Environments) -> None:
    class Nameless(Promotion):
        def properties(self) -> dict[str, Any]:
            properties = super().properties()
            return {**properties, "promotedFrom": {**properties["promotedFrom"], "environment": ""}}

    good = environments.promotion("a", 1)
    assert "promoted-image-tested" in refusal(environments, a=Nameless.model_validate(good.model_dump(by_alias=True)))


def test_a_history_that_is_gone_says_nothing_against_it(environments: Environments) -> None:
    """The record was held against it when the image first came: a rollback is not the time to miss it."""
    assert judged(environments, a=environments.promotion("a", 9), b=environments.promotion("b", 1, "nowhere")) == []


def test_a_state_that_cannot_be_read_says_nothing_against_it(environments: Environments) -> None:
    folder = environments.folder / ".pulumi" / "history" / "slipway" / "dev"
    (file,) = folder.glob("*.checkpoint.json")
    file.write_text(json.dumps({"version": 3})[:-3])
    assert judged(environments, a=environments.promotion("a", 1)) == []
