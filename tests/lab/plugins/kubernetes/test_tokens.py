"""Type tokens: every class of the SDK maps to its kind, and what cannot be done says so."""

from __future__ import annotations

import re
from pathlib import Path

import pulumi_kubernetes
import pytest

from lab.plugins.kubernetes import tokens
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.serving import PluginError

SDK = Path(pulumi_kubernetes.__file__).parent
CLASS = re.compile(r'type_token\("(kubernetes:[^"]+)"')
INPUTS = re.compile(r'__props__\.__dict__\["(api_version|kind)"\] = \'([^\']+)\'')
OFFICIAL_ONLY = ("helm.sh/", "kustomize/", "yaml/")


def sdk_classes() -> dict[str, dict[str, str]]:
    """Each resource class's token, and the `api_version` and `kind` it sets in its inputs."""
    found: dict[str, dict[str, str]] = {}
    for file in SDK.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if match := CLASS.search(text):
            found[match[1]] = dict(INPUTS.findall(text))
    return found


def test_every_class_of_the_sdk_has_the_kind_it_declares() -> None:
    classes = sdk_classes()
    assert len(classes) > 500
    for token, declared in classes.items():
        if "kind" not in declared or token.endswith("List"):
            continue
        parsed = tokens.parse(token)
        assert (parsed.target.api_version, parsed.target.kind) == (declared["api_version"], declared["kind"]), token
        assert parsed.is_patch == token.endswith(declared["kind"] + "Patch"), token


def test_lists_and_components_are_refused_by_name() -> None:
    refused = [
        token for token in sdk_classes() if token.endswith("List") or any(part in token for part in OFFICIAL_ONLY)
    ]
    assert len(refused) > 100
    for token in refused:
        with pytest.raises(PluginError) as refusal:
            tokens.parse(token)
        assert token in str(refusal.value)


def test_a_helm_release_names_the_official_plugin() -> None:
    with pytest.raises(PluginError) as refusal:
        tokens.parse("kubernetes:helm.sh/v3:Release")
    assert str(refusal.value) == (
        "kubernetes:helm.sh/v3:Release is not supported by the fallback for pulumi-resource-kubernetes v4.34.2: "
        "Helm releases and charts need the official plugin. Install it where its download is reachable: "
        "pulumi plugin install resource kubernetes"
    )


@pytest.mark.parametrize("token", ["kubernetes:core:Pod", "aws:core/v1:Pod", "kubernetes:core/v1:", "kubernetes"])
def test_no_token_of_this_provider(token: str) -> None:
    with pytest.raises(PluginError, match="unrecognized resource type"):
        tokens.parse(token)


def test_custom_kinds_are_what_they_are_called() -> None:
    plain = tokens.resolve("kubernetes:example.com/v1:Patch", "Patch")
    assert (plain.target, plain.is_patch) == (GroupVersionKind("example.com", "v1", "Patch"), False)
    quilt = tokens.resolve("kubernetes:example.com/v1:QuiltPatch", "QuiltPatch")
    assert not quilt.is_patch
    patch = tokens.resolve("kubernetes:example.com/v1:QuiltPatch", "Quilt")
    assert (patch.target.kind, patch.is_patch) == ("Quilt", True)
    assert tokens.parse("kubernetes:example.com/v1:ShoppingList").target.kind == "ShoppingList"


def test_the_core_group_has_two_names() -> None:
    assert (
        GroupVersionKind.of("v1", "Pod") == GroupVersionKind.of("core/v1", "Pod") == GroupVersionKind("", "v1", "Pod")
    )
    assert GroupVersionKind.of("core/v1", "Pod").api_version == "v1"


def test_scopes_known_without_asking() -> None:
    assert GroupVersionKind("", "v1", "Pod").known_scope is True
    assert GroupVersionKind("", "v1", "Namespace").known_scope is False
    assert GroupVersionKind("example.com", "v1", "Deployment").known_scope is None


def test_names_and_types_in_urns() -> None:
    urn = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::a::b"
    assert tokens.type_of(urn) == "kubernetes:apps/v1:Deployment"
    assert tokens.name_of(urn) == "a::b"
