"""What the `slipway:` keys of a stack may say, and what is made of them."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components.settings import Settings


@pytest.fixture
def settings(declare: Any) -> Any:
    """`settings(stack, {"slipway:key": "value"})` are those of a stack with that configuration."""

    def read(stack: str = "dev", config: dict[str, str] | None = None) -> Settings:
        found: list[Settings] = []
        declare(lambda: found.append(Settings.from_config(pulumi.get_stack())[0]), stack=stack, config=config)
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
