"""What the `slipway:` keys of a stack may say, and what is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.settings import StackSettings
from slipway.masking import masked_text


@pytest.fixture
def settings(declare: Any) -> Any:
    """`settings(stack, {"slipway:key": "value"})` are those of a stack with that configuration."""

    def read(stack: str = "dev", config: dict[str, str] | None = None, project: str = "slipway") -> StackSettings:
        found: list[StackSettings] = []
        declare(
            lambda: found.append(StackSettings.from_config(pulumi.get_stack())[0]),
            stack=stack,
            config=config,
            project=project,
        )
        return found[0]

    return read


@pytest.mark.parametrize(
    ("stack", "namespace"),
    [("test", "slipway-test"), ("QA", "slipway-qa"), ("eu_1", "slipway-eu-1"), ("v1.2_", "slipway-v1-2")],
)
def test_any_stack_has_a_namespace_that_kubernetes_accepts(settings: Any, stack: str, namespace: str) -> None:
    assert settings(stack).namespace.name == namespace


@pytest.mark.parametrize("name", ["shop-test", "default-" + "x" * 39, "x" * 63, "default", "4shop", "1"])
def test_a_namespace_may_be_called_what_kubernetes_allows(settings: Any, name: str) -> None:
    assert settings(config={"slipway:namespace": name}).namespace.name == name
    managed_elsewhere = f'{{"name": "{name}", "managed": false}}'
    assert settings(config={"slipway:namespace": managed_elsewhere}).namespace.name == name


@pytest.mark.parametrize("name", ["x" * 64, "Shop", "shop-", "-shop", "a_b", "a.b", "shop "])
def test_a_namespace_that_kubernetes_refuses_is_refused(settings: Any, name: str) -> None:
    with pytest.raises(pulumi.RunError, match=r"Configuration error: .*is not a DNS label: .* at most 63 characters"):
        settings(config={"slipway:namespace": name})


def test_a_stack_whose_name_is_too_long_for_a_namespace_needs_one(settings: Any) -> None:
    with pytest.raises(pulumi.RunError, match=r"`slipway:namespace\.name` is .* at most 63 characters"):
        settings("s" * 60)


REGISTRIES = ["127.0.0.1:5000", "registry.example/team", "registry.example:443/team/a_b/c--d", "team", "localhost:5000"]
BAD_REGISTRIES = [
    "127.0.0.1:5000/",
    "http://registry.example",
    "https://registry.example/team",
    "registry.example/Team",
    "Registry.example",
    "registry.example/team ",
    " registry.example",
    "registry.example/team:v1",
    "registry.example//team",
    "registry.example/team@sha256:" + "1" * 64,
    "registry.example:port/team",
    "r" * 201,
    "registry.example/team\n",
]


@pytest.mark.parametrize("registry", [*REGISTRIES, "[::1]:5000/team"])
def test_a_registry_is_a_host_and_a_path(settings: Any, registry: str) -> None:
    assert settings(config={"slipway:registry": registry}).registry == registry


@pytest.mark.parametrize("registry", BAD_REGISTRIES)
def test_a_registry_that_no_image_can_be_pushed_to_is_refused_by_the_name_of_its_setting(
    settings: Any, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        settings(config={"slipway:registry": registry})
    said = f" is {registry!r}; allowed is HOST[:PORT][/PATH] as in registry.example/team: lower case, no scheme"
    assert str(caught.value).startswith(f"Configuration error: `slipway:registry`{said}")
    monkeypatch.setenv("SLIPWAY_REGISTRY", registry)
    with pytest.raises(pulumi.RunError) as caught:
        settings()
    assert str(caught.value).startswith(f"Configuration error: `SLIPWAY_REGISTRY`{said}")


@pytest.mark.parametrize("image", ["python", "python:3.12-slim", "r.example:5000/a/python:1@sha256:" + "0a" * 32])
def test_a_base_image_may_have_a_tag_or_a_digest(settings: Any, image: str) -> None:
    assert settings(config={"slipway:baseImage": image}).base_image == image


@pytest.mark.parametrize(
    "image",
    ["http://r.example/python", "Python:3", "python:", "python@sha256:12", "python@", "r.example/", "python:3 ", ""],
)
def test_a_base_image_that_is_none_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    with pytest.raises(
        pulumi.RunError, match=r"`slipway:baseImage` is .*; allowed is an image as in registry\.example/"
    ):
        settings(config={"slipway:baseImage": image})
    if image:
        monkeypatch.setenv("SLIPWAY_BASE_IMAGE", image)
        with pytest.raises(pulumi.RunError, match=r"`SLIPWAY_BASE_IMAGE` is .*; allowed is an image"):
            settings()


@pytest.mark.parametrize("project", ["slipway", "shop"])
def test_the_keys_of_a_stack_count_whatever_the_project_is_called(settings: Any, project: str) -> None:
    config = {"slipway:registry": "registry.example/own", "slipway:context": "own", "slipway:rollbackTo": "3"}
    found = settings(config=config, project=project)
    assert (found.registry, found.context, found.rollback_to) == ("registry.example/own", "own", 3)


def test_a_key_in_the_namespace_of_a_renamed_project_is_refused(settings: Any) -> None:
    with pytest.raises(pulumi.RunError, match=r"`shop:registry` is not read, .*; write `slipway:registry`"):
        settings(config={"shop:registry": "registry.example/own"}, project="shop")
    assert settings(config={"shop:DATABASE_URL": "x"}, project="shop")


def test_an_unknown_key_is_refused_wherever_pulumi_has_it_from(settings: Any) -> None:
    with pytest.raises(pulumi.RunError, match=r"unknown key `slipway:registri`; did you mean `slipway:registry`\?"):
        settings(config={"slipway:registri": "registry.example/own"})


PROMOTED = {
    "digest": "sha256:" + "1" * 64,
    "from": "dev",
    "update": 12,
    "commit": "0123456789",
    "time": "2030-01-01T00:00:00Z",
}


def test_an_environment_builds_unless_it_says_otherwise(settings: Any) -> None:
    assert settings().build
    assert not settings(config={"slipway:build": "false"}).build
    (found,) = settings(config={"slipway:images": json.dumps({"user-service": PROMOTED})}).images.values()
    assert (found.digest, str(found)) == (PROMOTED["digest"], "#12 of dev")


@pytest.mark.parametrize("value", ["no", "0", '"false"', "maybe"])
def test_what_is_no_yes_or_no_is_refused(settings: Any, value: str) -> None:
    with pytest.raises(pulumi.RunError, match=r"`slipway:build` is .*; it should be a valid boolean"):
        settings(config={"slipway:build": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("digest", "sha256:12"),
        ("digest", "latest"),
        ("from", ""),
        ("update", 0),
        ("update", "12"),
        ("commit", "main"),
        ("time", "yesterday"),
    ],
)
def test_a_promoted_image_that_slipway_did_not_write_is_named(settings: Any, key: str, value: Any) -> None:
    for entry in (PROMOTED | {key: value}, {name: each for name, each in PROMOTED.items() if name != key}):
        with pytest.raises(pulumi.RunError, match=rf"`slipway:images\.user-service\.{key}` is"):
            settings(config={"slipway:images": json.dumps({"user-service": entry})})


HIDDEN = {
    "slipway:services": '{"user-service": {"env": {"GREETING": "hidden", "LOG_LEVEL": "x"}, "port": "hidden"}}',
    "slipway:defaults": '{"env": {"A": "hidden"}}',
    "slipway:registry": "hidden/",
}


@pytest.mark.parametrize("key", HIDDEN)
def test_a_secret_in_a_key_that_is_kept_in_the_clear_is_refused(declare: Any, key: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        declare(lambda: StackSettings.from_config("dev"), config=HIDDEN, secret_keys=[key])
    assert str(caught.value).startswith("Configuration error: ")
    assert f"`{key}` is a secret, and the values of `slipway:` keys are readable" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_secret_in_the_file_of_an_environment_is_named_with_its_line(
    declare: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text(
        "config:\n"
        "  user-service:DATABASE_URL: {secure: v1:x}\n"
        "  slipway:services:\n"
        "    user-service:\n"
        "      env:\n"
        "        LOG_LEVEL: info\n"
        "        GREETING: {secure: v1:x}\n"
    )

    def program() -> None:
        monkeypatch.chdir(tmp_path)
        StackSettings.from_config("dev")

    with pytest.raises(pulumi.RunError) as caught:
        declare(program, config=HIDDEN, secret_keys=["slipway:services", "user-service:DATABASE_URL"])
    assert str(caught.value) == (
        "Configuration error: Pulumi.dev.yaml:7: `slipway:services.user-service.env.GREETING` is a secret, and the "
        "values of `slipway:` keys are readable in the cluster and in the state; list GREETING under `secrets` of the "
        "service instead, and set it with `pulumi config set --secret user-service:GREETING`"
    )
    assert masked_text(str(caught.value)) == str(caught.value)
