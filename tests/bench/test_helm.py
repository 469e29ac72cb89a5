"""The chart that Helm gets has just what the stack has; a long history of releases is as Helm stores it."""

from __future__ import annotations

import json
from typing import Any

from bench import helm
from bench.helm import copies, decode, encode
from tests.recording.workspace import CHECKOUT

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:{type}::{name}"


def resource(type_: str, name: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "urn": URN.format(type=type_, name=name),
        "type": f"kubernetes:{type_}",
        "custom": True,
        "inputs": inputs,
    } | more


def manifest(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "theirs"}}


def test_every_object_is_there_in_the_other_namespace() -> None:
    state = {
        "resources": [
            resource("core/v1:Namespace", "dev", manifest("Namespace", "theirs")),
            resource("core/v1:ConfigMap", "a", {**manifest("ConfigMap", "a"), "data": {"x": "1"}, "__defaults": []}),
            resource("core/v1:ConfigMap", "old", manifest("ConfigMap", "old"), delete=True),
            {"urn": URN.format(type="x", name="provider"), "type": "pulumi:providers:kubernetes", "custom": True},
        ]
    }
    assert helm.objects_of(state, "ours") == [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "ours"},
            "data": {"x": "1"},
        }
    ]


def test_braces_are_text_to_a_template() -> None:
    text = helm.chart_template([{"data": {"a": "{{ .Values.x }}", "b": "{{{"}}])
    rendered = text.replace('{{ "{{" }}', "{{")
    assert json.loads(rendered.removeprefix("---\n")) == {"data": {"a": "{{ .Values.x }}", "b": "{{{"}}
    assert text.count("{{") == 2 * 2


def test_a_recorded_stack_has_six_objects_a_service_and_a_secret() -> None:
    recorded = json.loads((CHECKOUT / "tests/slipway/recorded/states.json").read_text())
    state = next(iter(recorded.values())) if isinstance(recorded, dict) else recorded[0]
    kinds = [each["kind"] for each in helm.objects_of(state, "ours")]
    assert kinds.count("Deployment") == kinds.count("ConfigMap") == 2
    assert len(kinds) == 2 * 7


def test_a_release_is_decoded_as_it_was_encoded() -> None:
    release = {"name": "bench", "version": 3, "info": {"status": "deployed"}, "manifest": "ä"}
    assert decode(encode(release)) == release


def test_copies_of_a_release_differ_in_their_version() -> None:
    release = {"name": "bench", "version": 3, "info": {"status": "deployed", "notes": "x"}, "manifest": "m"}
    labels = {"name": "bench", "owner": "helm", "status": "deployed", "version": "3"}
    secret: dict[str, Any] = {
        "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.bench.v3", "labels": labels, "uid": "1"},
        "data": {"release": encode(release)},
    }
    made = copies(secret, range(4, 6))
    assert [each["metadata"]["name"] for each in made] == ["sh.helm.release.v1.bench.v4", "sh.helm.release.v1.bench.v5"]
    assert [each["metadata"]["labels"]["version"] for each in made] == ["4", "5"]
    assert "uid" not in made[0]["metadata"]
    decoded = decode(made[1]["data"]["release"])
    assert decoded == {**release, "version": 5, "info": {"status": "superseded", "notes": "x"}}
    assert secret["metadata"]["labels"]["version"] == "3"
