"""The settings of a temporary environment: what is taken over, what cannot be, and what a person is told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.catalog import Service
from services.spec import ServiceSpec
from slipway.environments.creation import derive_settings
from slipway.environments.temporary import Temporary, parse_duration, require_name
from slipway.errors import ConfigurationError

NOW = datetime(2026, 11, 28, 21, 0, tzinfo=UTC)


def service(name: str = "shop", **more: Any) -> Service:
    return Service(ServiceSpec.model_validate({"name": name, **more}), Path("services") / name)


def test_all_is_taken_over_but_what_is_true_of_one_environment() -> None:
    config = {
        "slipway:namespace": "shop-dev",
        "slipway:rollbackTo": 3,
        "slipway:adopt": ["Namespace/shop-dev"],
        "slipway:resourceQuota": {"hard": {"pods": 9}},
        "shop:TOKEN": {"secure": "v1:abc"},
    }
    derived = derive_settings(config, [service()], "pr-1", "dev")
    assert derived.config == {
        "slipway:resourceQuota": {"hard": {"pods": 9}},
        "shop:TOKEN": {"secure": "v1:abc"},
    }
    assert derived.notes == (
        "slipway:rollbackTo of dev is left out",
        "slipway:adopt of dev is left out",
        "secrets copied from dev: shop:TOKEN; the systems they open, such as databases, are shared",
    )
    text = derived.text("pr-1", "dev", {"encryptionsalt": "v1:x"})
    assert text.startswith(
        "# Made by `slipway up --like dev`, and never committed: `slipway down -s pr-1` removes it.\n"
    )
    assert yaml.safe_load(text) == {"config": derived.config, "encryptionsalt": "v1:x"}


def test_node_ports_and_hosts_are_other_ones() -> None:
    services = [
        service("web", ingress={"host": "shop.example", "tlsSecretName": "shop-tls"}),
        service("wild", ingress={"host": "*.shop.example"}),
        service("tcp", service={"type": "NodePort", "nodePort": 30080}),
        service("plain"),
    ]
    config = {"slipway:services": {"web": {"replicas": 3, "ingress": {"path": "/a"}}}}
    derived = derive_settings(config, services, "pr-1", "dev")
    assert derived.config["slipway:services"] == {
        "web": {"replicas": 3, "ingress": {"path": "/a", "host": "pr-1-shop.example"}},
        "wild": {"ingress": {"host": "*.pr-1-shop.example"}},
        "tcp": {"service": {"nodePort": None}},
    }
    assert config == {"slipway:services": {"web": {"replicas": 3, "ingress": {"path": "/a"}}}}, "as it was"
    assert derived.notes == (
        "web: its host is pr-1-shop.example, which needs a DNS record for this cluster",
        "web: its TLS secret shop-tls is to be made in the new namespace",
        "wild: its host is *.pr-1-shop.example, which needs a DNS record for this cluster",
        "tcp: the cluster chooses its node port; 30080 is taken",
    )


def test_secrets_that_images_are_pulled_with_are_said() -> None:
    config = {"slipway:imagePullSecrets": ["login"]}
    (note,) = derive_settings(config, [service(imagePullSecrets=["other"])], "pr-1", "dev").notes
    assert note == "images are pulled with login, other, to be made in namespace slipway-pr-1"


def test_a_namespace_that_somebody_else_manages_is_not_shared() -> None:
    config = {"slipway:namespace": {"name": "team", "managed": False}}
    with pytest.raises(ConfigurationError, match="dev does not manage its namespace team") as caught:
        derive_settings(config, [], "pr-1", "dev")
    assert "`slipway:namespace`" in caught.value.next_step


def test_a_host_that_grows_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"the Ingress of shop would have the host pr-1-x+\.example"):
        derive_settings({}, [service(ingress={"host": f"{'x' * 60}.example"})], "pr-1", "dev")


@pytest.mark.parametrize(
    ("text", "duration"),
    [("90m", timedelta(minutes=90)), ("12h", timedelta(hours=12)), ("3d", timedelta(days=3)), ("52w", timedelta(364))],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "3", "d", "0d", "-1d", "3 d", "1.5h", "366d", "9999999m", "3D", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--expires is") as caught:
        parse_duration(text)
    assert "90m, 12h, 3d, 2w" in caught.value.why


@pytest.mark.parametrize("name", ["PR-1", "pr_1", "-pr", "pr-", "", "a" * 56, "pr.1", "pr/1"])
def test_a_name_that_no_namespace_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="can be made with --like"):
        require_name(name)


@pytest.mark.parametrize("name", ["pr-1", "a", "a" * 55, "4"])
def test_other_names_are_not(name: str) -> None:
    require_name(name)


def test_tags_say_it_all() -> None:
    temporary = Temporary("dev", NOW)
    assert temporary.tags() == {"slipway:like": "dev", "slipway:expires": "2026-11-28T21:00:00Z"}
    assert Temporary.of_tags({**temporary.tags(), "pulumi:project": "shop"}) == temporary
    assert Temporary.of_tags(Temporary("dev").tags()) == Temporary("dev")
    assert Temporary.of_tags({"slipway:expires": "2026-11-28T21:00:00Z"}) is None
    with pytest.raises(ValueError, match="soon"):
        Temporary.of_tags({"slipway:like": "dev", "slipway:expires": "soon"})


@pytest.mark.parametrize(
    ("expires", "expired"),
    [(NOW, True), (NOW + timedelta(seconds=1), False), (NOW - timedelta(days=9), True), (None, False)],
)
def test_it_expires_at_its_time(expires: datetime | None, expired: bool) -> None:
    assert Temporary("dev", expires).has_expired(NOW) is expired
