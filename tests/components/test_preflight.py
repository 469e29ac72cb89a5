"""An environment that builds nothing runs the digests of its settings, once their source and the registry are asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import preflight, release
from components.environment import Environment, EnvironmentArgs
from components.settings import StackSettings
from slipway.backend.promotion import Promotion
from slipway.backend.update_info import entry
from slipway.registry import RegistryError
from tests import example

SERVICES = ["order-service", "user-service"]  # those of the recorded states
DIGEST = "sha256:" + "2" * 64
PROMOTED = {"digest": DIGEST, "from": "dev", "update": 12, "commit": "0123456789", "time": "2030-01-01T00:00:00Z"}
IMAGES = dict.fromkeys(SERVICES, PROMOTED)
OF_THE_PROGRAM = dict.fromkeys(example.SERVICES, PROMOTED)


def config(images: Any = IMAGES, build: str = "false") -> dict[str, str]:
    return {"slipway:build": build, "slipway:images": json.dumps(images)}


def program() -> None:
    environment = Environment(pulumi.get_stack(), EnvironmentArgs.from_config())
    release.deploy(environment, release.build(environment))


def test_a_promoted_environment_declares_no_build_and_no_builder(declare: Any) -> None:
    recorded = declare(program, stack="prod", preview=True, config=config(OF_THE_PROGRAM))
    assert recorded.names("docker-build:index:Image") == recorded.names("pulumi:providers:docker-build") == []
    assert recorded.names("slipway:index:ServiceImage") == sorted(OF_THE_PROGRAM)
    inputs = recorded.inputs("slipway:index:ServiceImage", "user-service")
    assert Promotion.from_properties(inputs) == Promotion.model_validate(IMAGES["user-service"])
    for name in SERVICES:
        (container,) = recorded.inputs("kubernetes:apps/v1:Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"registry.example/team/{name}@{DIGEST}"
    assert recorded.calls == [], "no base image is looked up"


def test_an_environment_that_builds_has_its_builder(declare: Any) -> None:
    recorded = declare(program, stack="prod", preview=True, config=config({}, build="true"))
    assert recorded.names("pulumi:providers:docker-build") == ["prod"]


def test_a_service_without_a_digest_is_refused_with_the_command_that_writes_it(declare: Any) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        declare(program, stack="prod", preview=True, config=config({}))
    assert str(caught.value) == (
        "Configuration error: prod builds nothing (`slipway:build` is false), and `slipway:images` has no digest of "
        "order-cleanup, user-service, order-worker, order-service; run `slipway promote --from dev --to prod`, which "
        "writes it"
    )
    misspelt = {name.replace("user-service", "user-servise"): image for name, image in OF_THE_PROGRAM.items()}
    with pytest.raises(pulumi.RunError, match=r"no digest of user-service \(it also has user-servise: not a service\)"):
        declare(program, stack="prod", preview=True, config=config(misspelt))


def test_digests_that_would_not_run_are_refused(declare: Any) -> None:
    with pytest.raises(pulumi.RunError, match=r"`slipway:build` is true and `slipway:images` names digests"):
        declare(program, stack="prod", preview=True, config=config(build="true"))


UPDATE = {
    "kind": "update",
    "result": "succeeded",
    "startTime": 1893456000,
    "endTime": 1893456060,
    "environment": {"git.head": "0123456789abcdef"},
}


class Source:
    """The history of dev, in which update #12 left `state`."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        self.state = state
        self.numbers = (12,) if state else ()

    def present(self) -> dict[str, Any] | None:
        return self.state

    def entry(self, _number: int) -> Any:
        return entry(12, UPDATE, "slipway")

    def checkpoint(self, _number: int) -> dict[str, Any] | None:
        return self.state


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch, declare: Any) -> Callable[..., tuple[list[str], list[str]]]:
    """Problems and warnings of `slipway:images`, beside a source's state, a present one, and a registry."""

    def run(
        source: dict[str, Any] | None,
        images: Any = IMAGES,
        present: dict[str, Any] | None = None,
        registry: Callable[[str], str | None] = lambda _: DIGEST,
    ) -> tuple[list[str], list[str]]:
        found: list[str] = []
        warnings: list[str] = []
        monkeypatch.setattr(preflight, "history", lambda _: Source(source))
        monkeypatch.setattr(preflight, "present_state", lambda: present or {})
        monkeypatch.setattr(preflight, "image_digest", registry)
        monkeypatch.setattr(preflight, "get_monitor", lambda: None)
        monkeypatch.setattr(pulumi.log, "warn", lambda text, *_: warnings.append(text))

        def asked() -> None:
            settings, _ = StackSettings.from_config("prod")
            found.extend(preflight.promotion_problems(settings, SERVICES))

        declare(asked, stack="prod", config=config(images))
        return found, warnings

    return run


def built(state: dict[str, Any]) -> dict[str, Any]:
    """What `slipway:images` says of the images in a recorded state."""
    images = {
        each["urn"].rpartition("::")[2]: each["outputs"]["reference"].rpartition("@")[2]
        for each in state["resources"]
        if each["type"] == "slipway:index:ServiceImage"
    }
    assert sorted(images) == SERVICES
    return {name: IMAGES[name] | {"digest": digest} for name, digest in images.items()}


@pytest.fixture
def first() -> dict[str, Any]:
    file = Path(__file__).parents[1] / "slipway" / "recorded" / "states.json"
    state: dict[str, Any] = json.loads(file.read_text())["first"]
    return state


def test_what_the_source_built_and_the_registry_has_may_run(look_up: Any, first: dict[str, Any]) -> None:
    assert look_up(first, built(first)) == ([], [])


def test_a_digest_that_was_edited_by_hand_is_refused(look_up: Any, first: dict[str, Any]) -> None:
    edited = built(first) | {"user-service": IMAGES["user-service"]}
    (problem,), _ = look_up(first, edited)
    assert problem.startswith(f"`slipway:images.user-service` says {DIGEST}, commit 0123456789, 2030")
    assert "edited by hand" in problem
    of_another = built(first)
    of_another["user-service"]["commit"] = "abcdef0123"
    (problem,), _ = look_up(first, of_another)
    assert "that update has it from commit 0123456789abcdef" in problem
    later = built(first)
    later["user-service"]["update"] = 13
    (problem,), _ = look_up(first, later)
    assert "dev has no update #13" in problem
    later["user-service"] |= {"update": 12, "time": "2030-01-02T00:00:00Z"}
    (problem,), _ = look_up(first, later)
    assert "that update began at 2030-01-01T00:00:00Z" in problem
    nowhere = built(first)
    nowhere["user-service"]["from"] = "production"
    (problem,), _ = look_up(first, nowhere)
    assert problem == "`slipway:images.user-service.from` is 'production'; allowed: dev"


def test_an_image_whose_unit_tests_are_not_in_its_build_is_refused(look_up: Any, first: dict[str, Any]) -> None:
    first["resources"] = [each for each in first["resources"] if not each["urn"].endswith("::user-service-test")]
    (problem,), _ = look_up(first, built(first))
    assert "has no build whose unit tests passed" in problem


@pytest.mark.parametrize("label", ["stage test", "none"])
def test_an_image_may_have_its_unit_tests_in_its_own_build_or_say_that_it_has_none(
    look_up: Any, first: dict[str, Any], label: str
) -> None:
    first["resources"] = [each for each in first["resources"] if not each["urn"].endswith("::user-service-test")]
    (image,) = [each for each in first["resources"] if each["urn"].endswith("docker-build:index:Image::user-service")]
    image["inputs"]["labels"] = {"slipway.dev/unit-tests": label}
    assert look_up(first, built(first)) == ([], [])


def test_what_runs_already_is_not_looked_up_again(look_up: Any) -> None:
    component = {"type": "slipway:index:ServiceImage", "custom": False}
    properties = {name: Promotion.model_validate(each).properties() for name, each in IMAGES.items()}
    for each in properties.values():
        each["promotedFrom"]["update"] = 12.0  # as the engine writes it
    present = {
        "resources": [
            {**component, "urn": f"urn:pulumi:prod::slipway::slipway:index:ServiceImage::{name}", "inputs": each}
            for name, each in properties.items()
        ]
    }
    assert look_up(None, present=present, registry=lambda _: None) == ([], [])


def test_a_digest_that_the_registry_lost_is_refused(look_up: Any, first: dict[str, Any]) -> None:
    problems, _ = look_up(first, built(first), registry=lambda _: None)
    assert len(problems) == 2
    assert problems[0].startswith("the registry does not have registry.example/team/order-service@sha256:")


def test_what_cannot_be_asked_is_warned_of(look_up: Any) -> None:
    def silent(name: str) -> str:
        raise RegistryError(f"The registry of {name} does not answer.")

    problems, warnings = look_up(None, registry=silent)
    assert problems == []
    assert sum("this backend has no stack dev" in each for each in warnings) == 2
    assert sum("The registry could not be checked for registry.example/team/" in each for each in warnings) == 2
