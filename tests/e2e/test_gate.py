"""The gate on the real lab: what breaks a rule is refused whichever way it comes, what keeps them all goes through."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from slipway.deploy.approval import normalized

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

RULE = "liveness-probe"
POD, PROBES = "components/pod.py", "spec.health.probes(spec.kind).items()"
SERVICE = "services/user_service/service.yaml"
NAME = "user-service"


def generations(project: Any) -> dict[str, int]:
    return {name: item["metadata"]["generation"] for name, item in project.deployments().items()}


def state_file(project: Any) -> Path:
    backend = Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    return backend / ".pulumi" / "stacks" / "slipway" / "e2e.json"


def state(project: Any) -> dict[str, Any]:
    """All of it but when it was written, and under which nonces."""
    return normalized(json.loads(state_file(project).read_text())["checkpoint"]["latest"])


def level_of(project: Any) -> str:
    """The value of LOG_LEVEL that the pods of the service have now."""
    container = project.deployments()[NAME]["spec"]["template"]["spec"]["containers"][0]
    name = container["envFrom"][0]["configMapRef"]["name"]
    return str(project.get(f"/api/v1/namespaces/{project.namespace}/configmaps/{name}")["data"]["LOG_LEVEL"])


def test_what_keeps_all_rules_goes_through(project: Any) -> None:
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    assert "preview not needed" in first.output, "its namespace is new"
    assert "approve by --yes" in first.output
    assert level_of(project) == "info"

    before = generations(project)
    project.replace(SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: debug")
    previewed = project.slipway("preview", "-s", "e2e")
    assert previewed.code == 0, previewed.output
    assert re.search(r"\d+ policies evaluated, \d+ passed", previewed.output), previewed.output
    assert f"{NAME}: its pod restarts" in previewed.output
    assert generations(project) == before

    made = project.slipway("up", "-s", "e2e", "--yes")
    assert made.code == 0, made.output
    assert re.search(
        r"G  policies .* s \(\d+ policies evaluated\) · preview not needed · approve by --yes", made.output
    )
    assert "Preview e2e" not in made.output, "the engine ran once"
    assert f"Deployment {NAME}" in made.output
    assert "checks met" in made.output
    assert level_of(project) == "debug"
    assert generations(project)[NAME] > before[NAME]

    before = generations(project)
    nothing = project.slipway("up", "-s", "e2e", "--yes")
    assert nothing.code == 0, nothing.output
    assert "objects as declared, 2 checks met" in nothing.output
    assert generations(project) == before


def test_a_service_without_a_liveness_probe_is_refused(released: Any) -> None:
    generation, recorded, content = generations(released), state(released), state_file(released).read_bytes()
    released.replace(POD, PROBES, f'{PROBES} if name != "live"')
    for command, code in ((("preview", "-s", "e2e"), 3), (("up", "-s", "e2e", "--yes"), 3), ((), 1)):
        result = released.slipway(*command) if command else released.up()
        assert result.code == code, result.output
        assert RULE in result.output
        assert NAME in result.output
        assert "Traceback" not in result.output
        assert generations(released) == generation
        assert state(released) == recorded
        if command:  # a bare `pulumi up` was begun: the engine writes down that it failed
            assert state_file(released).read_bytes() == content


def test_an_approval_of_another_machine_holds_for_just_what_it_is_of(released: Any) -> None:
    released.replace(SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: error")
    previewed = released.slipway("preview", "-s", "e2e", "--approval", "approval.json")
    assert previewed.code == 0, previewed.output
    released.replace(SERVICE, "LOG_LEVEL: error", "LOG_LEVEL: critical")
    refused = released.slipway("up", "-s", "e2e", "--approved", "approval.json")
    assert refused.code == 1, refused.output
    assert f"files: {SERVICE} (changed)" in refused.output
    assert level_of(released) == "info"
    released.replace(SERVICE, "LOG_LEVEL: critical", "LOG_LEVEL: error")
    result = released.slipway("up", "-s", "e2e", "--approved", "approval.json")
    assert result.code == 0, result.output
    assert "approve by approval.json" in result.output
    assert level_of(released) == "error"
    again = released.slipway("up", "-s", "e2e", "--approved", "approval.json")
    assert again.code == 1, "the state is another now"
    assert "state: update #" in again.output


@pytest.mark.thorough
def test_a_bare_update_leaves_the_next_one_nothing_to_do(released: Any) -> None:
    released.replace(SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: warning")
    bare = released.up()
    assert bare.code == 0, bare.output
    assert level_of(released) == "warning"
    before = generations(released)
    result = released.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "push nothing new · launch nothing changed" in result.output
    assert "checks met" in result.output
    assert generations(released) == before
