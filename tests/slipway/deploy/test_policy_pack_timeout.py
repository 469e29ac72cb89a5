"""When a preview is taken to hang, and when it is only at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.deploy.policy_pack_timeout import VARIABLE, PolicyPackTimeout
from slipway.engine.events import Failed, Finished, Started, Urn
from slipway.errors import ConfigurationError

IMAGE = Urn("urn:pulumi:dev::slipway::docker-build:index:Image::a")
STACK = Urn("urn:pulumi:dev::slipway::pulumi:pulumi:Stack::slipway-dev")
PACK = Path("policy")


@pytest.fixture
def watch() -> PolicyPackTimeout:
    return PolicyPackTimeout(PACK, loading_seconds=10, silence_seconds=20)


@pytest.fixture
def loaded(watch: PolicyPackTimeout) -> PolicyPackTimeout:
    watch.take('{"policyLoadEvent":{}}', None, 1)
    watch.take('{"preludeEvent":{}}', None, 2)
    return watch


def test_an_engine_that_has_not_come_to_the_pack_is_not_its_fault(watch: PolicyPackTimeout) -> None:
    assert watch.overdue(1000) == ""


def test_a_pack_that_does_not_load(watch: PolicyPackTimeout) -> None:
    watch.take('{"policyLoadEvent":{}}', None, 1)
    assert watch.overdue(10.9) == ""
    assert watch.overdue(11.1) == "the policy pack policy did not load in 10 s"


def test_silence_once_the_program_runs(loaded: PolicyPackTimeout) -> None:
    loaded.take("", Started(2, STACK, "same"), 2)
    loaded.take("", Finished(3, IMAGE, "same"), 3)
    assert loaded.overdue(22.9) == ""
    assert "policy sent no message after Image a for 20 s" in loaded.overdue(23.1)


def test_a_build_may_be_silent_for_as_long_as_it_wants(loaded: PolicyPackTimeout) -> None:
    loaded.take("", Started(3, IMAGE, "update"), 3)
    assert loaded.overdue(10_000) == ""
    loaded.take("", Failed(10_000, IMAGE, "update"), 10_000)
    assert loaded.overdue(10_019) == ""
    assert loaded.overdue(10_021)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_deadline_that_cannot_be_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match=VARIABLE):
        PolicyPackTimeout.of({VARIABLE: text}, PACK)


def test_the_users_deadline_is_taken() -> None:
    watch = PolicyPackTimeout.of({VARIABLE: "2.5"}, PACK)
    assert (watch.loading_seconds, watch.silence_seconds) == (2.5, 2.5)
    assert PolicyPackTimeout.of({}, PACK).loading_seconds > 2.5


def test_an_update_may_be_silent_once_a_resource_was_under_way() -> None:
    """While it asks its checks, for one."""
    watch = PolicyPackTimeout.of_update({VARIABLE: "10"}, PACK)
    watch.take('{"policyLoadEvent":{}}', None, 1)
    assert "did not load" in watch.overdue(11.1)
    watch.take('{"preludeEvent":{}}', None, 2)
    watch.take("", Started(3, STACK, "same"), 3)
    assert "sent no message" in watch.overdue(13.1)
    watch.take("", Started(4, IMAGE, "same"), 4)
    watch.take("", Finished(5, IMAGE, "same"), 5)
    assert watch.overdue(10_000) == ""
