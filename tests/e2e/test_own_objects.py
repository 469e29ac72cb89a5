"""Objects of a team's own, beside those that Slipway makes: they go up, come back in a rollback, and are looked after."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

UP = ("up", "-s", "e2e", "--yes")
PROGRAM = "__main__.py"
EXPORTS = "for name, value in outputs.items():"
# As somebody would write it who has read nothing of ours.
RAW = """
import pulumi_kubernetes as k8s

labels = {
    "app.kubernetes.io/name": "greeting", "app.kubernetes.io/part-of": "slipway", "app.kubernetes.io/managed-by": "pulumi"
}
greeting = k8s.core.v1.ConfigMap(
    "greeting",
    metadata=k8s.meta.v1.ObjectMetaArgs(name="greeting", namespace=environment.namespace, labels=labels),
    data={"text": "good morning"},
    opts=pulumi.ResourceOptions(provider=environment.kubernetes),
)
pulumi.export("greeting", greeting.data.apply(lambda data: data["text"]))

"""


def config_map(project: Any, name: str) -> Any:
    return project.get(f"/api/v1/namespaces/{project.namespace}/configmaps/{name}")


def test_a_raw_object_in_the_program_comes_back_with_the_rest(released: Any) -> None:
    released.replace(PROGRAM, EXPORTS, RAW + EXPORTS)
    assert (added := released.slipway(*UP)).code == 0, added.output
    assert config_map(released, "greeting")["data"] == {"text": "good morning"}
    assert released.outputs()["greeting"] == "good morning"
    # The next release breaks: its own object is another, there is one more, and a service runs out of memory.
    released.replace(PROGRAM, "good morning", "good evening")
    released.replace(
        PROGRAM,
        "greeting = ",
        'k8s.core.v1.ConfigMap("more", metadata={"name": "more", "labels": labels,\n'
        '    "namespace": environment.namespace}, opts=pulumi.ResourceOptions(provider=environment.kubernetes))\ngreeting = ',
    )
    released.replace("services/user_service/service.yaml", "memory: 128Mi", "memory: 12Mi")
    failed = released.slipway(*UP)
    assert failed.code == 4, failed.output
    assert "rolled back to #2" in failed.output
    assert config_map(released, "greeting")["data"] == {"text": "good morning"}
    assert config_map(released, "more")["reason"] == "NotFound"
    assert released.outputs()["greeting"] == "good morning"
    assert released.slipway("verify", "-s", "e2e").code == 0
    # Somebody deletes it; and a person goes back further, to before it was there.
    back = released.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert back.code == 0, back.output
    assert config_map(released, "greeting")["reason"] == "NotFound"
    assert "greeting" not in released.outputs()
