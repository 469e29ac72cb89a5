"""What is read out of a recorded state, and which objects are one to a person, though their content names them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from slipway.backend.history import decrypted
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import ExitCode, SlipwayError
from slipway.state.checkpoint import (
    fingerprint,
    is_settled,
    objects,
    outputs,
    resources,
    service_of,
    stem,
    successors,
)
from slipway.values import has_encrypted, opened
from tests.slipway.states import STACK, add, find, sealed, secret, urn

DEPLOYMENT, SECRET = "apps/v1:Deployment", "core/v1:Secret"


@pytest.mark.parametrize(
    ("named", "service"),
    [
        ("slipway:index:Microservice$kubernetes:apps/v1:Deployment::user-service", "user-service"),
        ("slipway:index:Microservice::user-service", "user-service"),
        ("slipway:index:ServiceImage$docker-build:index:Image::user-service", "user-service"),
        ("slipway:index:ServiceImage$docker-build:index:Image::user-service-test", "user-service"),
        ("slipway:index:ServiceImage::user-service-test", "user-service-test"),
        ("slipway:index:Microservice$kubernetes:core/v1:Service::load-test", "load-test"),
        ("slipway:index:Environment$kubernetes:core/v1:Namespace::dev", ""),
        ("pulumi:pulumi:Stack::slipway-dev", ""),
        ("kubernetes:apps/v1:Deployment::user-service", ""),
    ],
)
def test_a_resource_belongs_to_the_service_of_its_component(named: str, service: str) -> None:
    assert service_of(STACK + named) == service


def test_a_resource_of_another_name_belongs_to_its_component_s_service(first: Any) -> None:
    policy = urn("networking.k8s.io/v1:NetworkPolicy", "user-service")
    renamed = urn("networking.k8s.io/v1:NetworkPolicy", "open-sea")
    found = find(first, "networking.k8s.io/v1:NetworkPolicy", "user-service")
    assert objects(first)[policy].service == "user-service"
    found["urn"] = renamed
    assert objects(first)[renamed].service == "user-service"


def test_every_resource_of_a_real_state_has_its_place(first: Any) -> None:
    services = {each.service for each in resources(first)}
    assert services == {"", "order-service", "user-service"}
    kinds = {each.type for each in objects(first).values()}
    assert len(objects(first)) == 15
    assert all(each.startswith("kubernetes:") for each in kinds)


def test_a_resource_s_provider_is_named_without_its_id(first: Any) -> None:
    deployment = objects(first)[urn(DEPLOYMENT, "user-service")]
    assert deployment.provider == f"{STACK}slipway:index:Environment$pulumi:providers:kubernetes::dev"
    assert deployment.provider in {each.urn for each in resources(first)}


def test_what_waits_to_be_deleted_is_none_of_the_state(first: Any) -> None:
    before = objects(first)
    add(first, "core/v1:ConfigMap", "user-service", delete=True)
    assert objects(first) == before


@pytest.mark.parametrize("empty", [{}, {"resources": None}, {"resources": []}])
def test_an_empty_state_has_nothing(empty: dict[str, Any]) -> None:
    assert (resources(empty), objects(empty), dict(outputs(empty))) == ([], {}, {})
    assert is_settled(empty)
    assert not has_encrypted(empty)


def test_the_state_after_a_failed_rollout_has_what_was_applied(second: Any, failed: Any) -> None:
    """The provider applies the Deployment and does not wait: the program does, and fails."""
    assert is_settled(failed)
    assert fingerprint(failed) != fingerprint(second)
    assert fingerprint(failed, ["order-service"]) == fingerprint(second, ["order-service"])
    assert set(objects(second)) < set(objects(failed)), "the ConfigMap of the update before is there until one succeeds"
    assert outputs(failed) == outputs(second), "the stack's outputs are those of the update before"


def test_an_object_that_did_not_become_ready_is_not_settled(second: Any) -> None:
    """Where the provider waits, as it does for a StatefulSet: made by hand, since the program declares none.

    The engine keeps the old inputs beside the errors, while the cluster has the new ones.
    """
    failed = copy.deepcopy(second)
    find(failed, DEPLOYMENT, "user-service")["initErrors"] = ["the object did not become ready: timed out"]
    assert is_settled(second)
    assert not is_settled(failed)
    assert fingerprint(failed) == fingerprint(second)


def test_an_operation_under_way_is_not_settled(first: Any) -> None:
    assert not is_settled(first | {"pending_operations": [{"type": "updating"}]})
    assert is_settled(first | {"pending_operations": []})


def test_the_fingerprint_is_of_what_is_applied(first: Any, second: Any) -> None:
    before = fingerprint(first)
    assert before != fingerprint(second)
    assert before == fingerprint(copy.deepcopy(first))
    first["resources"].reverse()
    for each in first["resources"]:
        each["modified"] = "2030-01-01T00:00:00Z"
        if each["type"] == "docker-build:index:Image" or each["type"].startswith("pulumi:providers:"):
            each["inputs"] = {}
    assert fingerprint(first) == before
    find(first, DEPLOYMENT, "user-service")["inputs"]["spec"]["replicas"] = 9
    assert fingerprint(first) != before


def test_the_fingerprint_does_not_move_when_a_secret_is_encrypted_anew(first: Any) -> None:
    found = find(first, SECRET, "user-service")["inputs"]
    before = fingerprint(first)
    for text in ("v1:one", "v1:two"):
        found["data"] = sealed(text)
        assert fingerprint(first) == before
    found["data"] = {}
    assert fingerprint(first) != before


def test_secrets_are_found_and_opened_at_any_depth() -> None:
    assert has_encrypted({"resources": [{"inputs": {"a": [{"b": sealed("x")}]}}]})
    assert not has_encrypted({"resources": [{"inputs": {"a": [{"b": secret("x")}]}}]})
    assert opened({"a": [{"b": secret({"c": [1, None]})}], "d": "e"}) == {"a": [{"b": {"c": [1, None]}}], "d": "e"}


def test_a_state_without_secrets_asks_no_engine(first: Any, stub_engine: Any) -> None:
    engine, commands = stub_engine("exit 1")
    assert decrypted(engine, "slipway", "dev", first) is first
    assert not commands.exists()


def test_a_state_that_cannot_be_opened_is_the_user_s_to_mend(first: Any, stub_engine: Any) -> None:
    find(first, SECRET, "user-service")["inputs"]["data"] = sealed("v1:x")
    engine, _ = stub_engine("echo 'error: incorrect passphrase' >&2; exit 255")
    with pytest.raises(SlipwayError, match="cannot be decrypted") as caught:
        decrypted(engine, "slipway", "dev", first)
    assert "incorrect passphrase" in caught.value.why
    assert "PULUMI_CONFIG_PASSPHRASE" in caught.value.next_step
    assert caught.value.code is ExitCode.USAGE


def test_the_engine_opens_a_state_in_a_backend_of_its_own(first: Any, stub_engine: Any) -> None:
    """As it was recorded, but for what was under way; and nothing of it is left behind."""
    find(first, SECRET, "user-service")["inputs"]["data"] = sealed("v1:x")
    first["secrets_providers"] = {"type": "passphrase", "state": {"salt": "v1:salt"}}
    first["pending_operations"] = [{"type": "updating", "resource": {}}]
    engine, commands = stub_engine(
        'state="${PULUMI_BACKEND_URL#file://}/.pulumi/stacks/slipway/dev.json"\n'
        'cp "$state" "$KEPT"; echo "$PULUMI_BACKEND_URL" > "$KEPT.url"\n'
        'echo \'{"deployment": {"resources": []}}\''
    )
    assert decrypted(engine, "slipway", "dev", first) == {"resources": []}
    kept = json.loads(commands.with_name("kept").read_text())["checkpoint"]["latest"]
    assert kept == {key: each for key, each in first.items() if key != "pending_operations"}
    url = commands.with_name("kept.url").read_text().strip()
    assert url != "https://real.example"
    assert not Path(url.removeprefix("file://")).exists()


@pytest.fixture
def stub_engine(tmp_path: Any) -> Any:
    """A `pulumi` of which the body, in shell, is given; and the file in which its arguments are kept."""

    def engine(body: str) -> tuple[Pulumi, Any]:
        program, commands = tmp_path / "bin" / "pulumi", tmp_path / "asked"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$*" >> "{commands}"\n{body}\n')
        program.chmod(0o755)
        variables = {
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "PULUMI_BACKEND_URL": "https://real.example",
            "KEPT": str(tmp_path / "kept"),
        }
        return Pulumi(tmp_path, variables), commands

    return engine


PREFIX = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:"


def config_map(name: str) -> str:
    return f"{PREFIX}core/v1:ConfigMap::{name}"


def test_the_hash_is_no_part_of_what_it_is() -> None:
    assert stem(config_map("web-1a2b3c4d")) == config_map("web")
    assert stem(f"{PREFIX}core/v1:Secret::web-1a2b3c4d") == f"{PREFIX}core/v1:Secret::web"
    assert service_of(config_map("web-1a2b3c4d")) == "web"


@pytest.mark.parametrize("name", ["web", "web-1a2b3c4", "web-1a2b3c4d5", "web-1a2b3c4x", "1a2b3c4d"])
def test_any_other_name_is_its_own(name: str) -> None:
    assert stem(config_map(name)) == config_map(name)


def test_a_deployment_may_be_called_anything() -> None:
    urn = f"{PREFIX}apps/v1:Deployment::web-1a2b3c4d"
    assert stem(urn) == urn
    assert service_of(urn) == "web-1a2b3c4d"


def test_what_came_stands_in_the_place_of_what_went() -> None:
    before = [
        config_map("web-00000001"),
        config_map("shop-00000001"),
        config_map("settings"),
        config_map("gone-00000001"),
    ]
    after = [
        config_map("web-00000002"),
        config_map("shop-00000001"),
        config_map("settings"),
        config_map("new-00000001"),
    ]
    assert successors(before, after) == {before[0]: after[0]}
    assert successors(after, before) == {after[0]: before[0]}


def test_what_had_the_bare_name_once_is_known_too() -> None:
    assert successors([config_map("web")], [config_map("web-00000002")]) == {
        config_map("web"): config_map("web-00000002")
    }


def test_none_stands_in_the_place_of_two() -> None:
    """As after two updates that failed."""
    left = [config_map(f"web-0000000{number}") for number in range(3)]
    found = successors(left, [config_map("web-0000000f")])
    assert list(found.values()) == [config_map("web-0000000f")]
    assert set(found) <= set(left)


def test_a_secret_does_not_follow_a_config_map() -> None:
    assert successors([config_map("web-00000001")], [f"{PREFIX}core/v1:Secret::web-00000002"]) == {}
