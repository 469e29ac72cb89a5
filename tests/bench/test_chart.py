"""The chart that Helm gets has just what the stack has."""

from __future__ import annotations

import json
from typing import Any

from bench import chart
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
    assert chart.objects_of(state, "ours") == [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "ours"},
            "data": {"x": "1"},
        }
    ]


def test_braces_are_text_to_a_template() -> None:
    text = chart.template([{"data": {"a": "{{ .Values.x }}", "b": "{{{"}}])
    rendered = text.replace('{{ "{{" }}', "{{")
    assert json.loads(rendered.removeprefix("---\n")) == {"data": {"a": "{{ .Values.x }}", "b": "{{{"}}
    assert text.count("{{") == 2 * 2


def test_a_recorded_stack_has_six_objects_a_service_and_a_secret() -> None:
    recorded = json.loads((CHECKOUT / "tests/slipway/recorded/states.json").read_text())
    state = next(iter(recorded.values())) if isinstance(recorded, dict) else recorded[0]
    kinds = [each["kind"] for each in chart.objects_of(state, "ours")]
    assert kinds.count("Deployment") == kinds.count("ConfigMap") == 2
    assert len(kinds) == 2 * 7
