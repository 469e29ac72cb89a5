"""What differs between two states: fields, and secrets without their values."""

from __future__ import annotations

import json
from typing import Any

from slipway.cli.diff import lines, shape
from slipway.masking import SECRET
from slipway.render.service_changes import OUTSIDE
from slipway.state.difference import MAY_HAVE_CHANGED, Operation, difference
from slipway.values import SECRET_SIGNATURE, SIGNATURE

SERVICE = "urn:pulumi:dev::slipway::slipway:index:Microservice$"
KUBERNETES = "urn:pulumi:dev::slipway::"


def resource(kind: str, name: str, inputs: dict[str, Any], service: bool = True) -> dict[str, Any]:
    type_ = f"kubernetes:{kind}"
    return {
        "urn": f"{SERVICE if service else KUBERNETES}{type_}::{name}",
        "type": type_,
        "custom": True,
        "inputs": inputs,
    }


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resources": list(resources)}


def opened(value: Any) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "plaintext": json.dumps(value)}


def sealed(text: str) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "ciphertext": text}


def test_the_same_states_do_not_differ() -> None:
    one = state(resource("apps/v1:Deployment", "a", {"spec": {"replicas": 1}}))
    found = difference(one, one)
    assert not found
    assert lines(found, "dev from #1 to #2") == ["dev from #1 to #2: no difference."]
    assert shape(found, 1, None) == {"from": 1, "to": None, "secretsCompared": True, "services": []}


def test_resources_come_go_and_change_under_their_services() -> None:
    old = state(
        resource("apps/v1:Deployment", "b-service", {"spec": {"replicas": 1, "gone": True}}),
        resource("core/v1:ConfigMap", "b-service", {}),
        resource("core/v1:Namespace", "dev", {"metadata": {"labels": {"a.b/c": "1"}}}, service=False),
    )
    new = state(
        resource("apps/v1:Deployment", "b-service", {"spec": {"replicas": 2, "new": [1]}}),
        resource("core/v1:Service", "a-service", {}),
        resource("core/v1:Namespace", "dev", {"metadata": {"labels": {"a.b/c": "2"}}}, service=False),
    )
    assert lines(difference(old, new), "dev") == [
        OUTSIDE,
        "  ~ Namespace dev",
        '      metadata.labels["a.b/c"]: 1 → 2',
        "a-service",
        "  + Service a-service",
        "b-service",
        "  - ConfigMap b-service",
        "  ~ Deployment b-service",
        "      spec.replicas: 1 → 2",
        "      spec.gone: true → -",
        "      spec.new: - → [1]",
        "dev: 4 resources differ: 1 added, 2 changed, 1 removed.",
    ]


def test_images_builds_and_providers_are_no_difference() -> None:
    image = {"urn": f"{SERVICE}docker-build:index:Image::a", "type": "docker-build:index:Image", "custom": True}
    provider = {
        "urn": f"{KUBERNETES}pulumi:providers:kubernetes::p",
        "type": "pulumi:providers:kubernetes",
        "custom": True,
    }
    assert not difference(state(), state(image, provider))


def test_a_changed_secret_is_seen_and_not_shown() -> None:
    old = state(resource("core/v1:Secret", "a", {"stringData": opened({"KEY": "hunter2", "OTHER": "x"})}))
    new = state(resource("core/v1:Secret", "a", {"stringData": opened({"KEY": "correct horse", "OTHER": "x"})}))
    found = difference(old, new)
    (change,) = found.changes
    (field,) = change.fields
    assert (field.path, field.kind, field.old, field.new) == ("stringData.KEY", "update", SECRET, SECRET)
    text = "\n".join(lines(found, "dev")) + json.dumps(shape(found, 1, 2))
    assert "hunter2" not in text
    assert "correct horse" not in text


def test_what_only_looks_like_a_secret_is_masked_and_seen() -> None:
    def deployment(password: str) -> dict[str, Any]:
        env = [{"name": "URL", "value": f"postgres://u:{password}@h/db"}, {"name": "API_TOKEN", "value": password}]
        return state(resource("apps/v1:Deployment", "a", {"spec": {"env": env}}))

    text = "\n".join(lines(difference(deployment("first-one"), deployment("second-one")), "dev"))
    assert "spec.env[0].value" in text
    assert "spec.env[1].value" in text
    assert "first-one" not in text
    assert "second-one" not in text


def test_an_equal_secret_is_no_difference() -> None:
    one, two = (state(resource("core/v1:Secret", "a", {"data": opened({"a": 1})})) for _ in range(2))
    assert not difference(one, two)


def test_secrets_that_cannot_be_opened_may_have_changed() -> None:
    old, new = (state(resource("core/v1:Secret", "a", {"data": sealed(text)})) for text in ("v1:one", "v1:two"))
    found = difference(old, new)
    assert not found.secrets_compared
    assert [(field.path, field.new) for field in found.changes[0].fields] == [("data", MAY_HAVE_CHANGED)]
    assert "v1:" not in "\n".join(lines(found, "dev"))
    assert not difference(old, old)


def test_a_secret_that_was_none_is_not_shown_either() -> None:
    old = state(resource("core/v1:ConfigMap", "a", {"data": {"x": opened("hidden")}}))
    new = state(resource("core/v1:ConfigMap", "a", {"data": {"x": "plain"}}))
    (change,) = difference(old, new).changes
    assert change.operation is Operation.UPDATE
    assert [(field.old, field.new) for field in change.fields] == [(SECRET, "plain")]


def test_another_content_is_a_change_of_one_resource() -> None:
    def config_map(name: str, level: str) -> dict[str, Any]:
        return resource("core/v1:ConfigMap", name, {"metadata": {"name": name}, "data": {"LEVEL": level}})

    old, new = (config_map(f"web-{name}", level) for name, level in (("1a2b3c4d", "info"), ("0a2b3c4d", "debug")))
    assert lines(difference(state(old), state(new)), "dev") == [
        "web",
        "  ~ ConfigMap web-0a2b3c4d",
        "      metadata.name: web-1a2b3c4d → web-0a2b3c4d",
        "      data.LEVEL: info → debug",
        "dev: 1 resource differs: 1 changed.",
    ]


def test_what_was_renamed_is_one_resource_in_both_directions() -> None:
    inputs = {"metadata": {"name": "web", "namespace": "dev"}, "spec": {"port": 80}}
    old = resource("core/v1:Service", "web", inputs) | {"id": "dev/web"}
    new = resource("core/v1:Service", "front", {**inputs, "spec": {"port": 81}}) | {"id": "dev/web"}
    assert lines(difference(state(old), state(new)), "dev")[1:] == [
        "  ~ Service front",
        "      (name in Pulumi): web → front",
        "      spec.port: 80 → 81",
        "dev: 1 resource differs: 1 changed.",
    ]
    assert "(name in Pulumi): front → web" in "\n".join(lines(difference(state(new), state(old)), "dev"))


def test_an_alias_tells_that_it_is_the_same_though_the_object_is_another() -> None:
    old = resource("core/v1:ConfigMap", "old", {"metadata": {"name": "settings-1"}}) | {"id": "dev/settings-1"}
    new = resource("core/v1:ConfigMap", "new", {"metadata": {"name": "settings-2"}}) | {"id": "dev/settings-2"}
    new["aliases"] = [old["urn"]]
    for found in (difference(state(old), state(new)), difference(state(new), state(old))):
        assert [change.operation for change in found.changes] == [Operation.UPDATE]
        assert {field.path for field in found.changes[0].fields} == {"(name in Pulumi)", "metadata.name"}


def test_a_resource_under_another_parent_says_whose_it_was() -> None:
    old = resource("core/v1:Service", "web", {}, service=False) | {"id": "dev/web", "parent": f"{KUBERNETES}a:b:C::dev"}
    new = resource("core/v1:Service", "web", {}) | {"id": "dev/web", "parent": f"{SERVICE}::shop"}
    (change,) = difference(state(old), state(new)).changes
    assert [(field.path, field.old, field.new) for field in change.fields] == [("(parent in Pulumi)", "dev", "shop")]
