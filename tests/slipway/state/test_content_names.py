"""Which objects are one and the same to a person, though each content makes another of them."""

from __future__ import annotations

import pytest

from slipway.state.checkpoint import service_of, stem, successors

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
