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


def test_what_keeps_all_rules_goes_through_and_nothing_else(project: Any) -> None:
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    assert "preview not needed" in first.output, "its namespace is new"
    assert "approve by --yes" in first.output
    assert level_of(project) == "info"

    before = project.generations()
    project.replace(SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: debug")
    previewed = project.slipway("preview", "-s", "e2e")
    assert previewed.code == 0, previewed.output
    assert re.search(r"\d+ policies evaluated, \d+ passed", previewed.output), previewed.output
    assert f"{NAME}: its pod restarts" in previewed.output
    assert project.generations() == before

    made = project.slipway("up", "-s", "e2e", "--yes")
    assert made.code == 0, made.output
    assert re.search(
        r"G  policies .* s \(\d+ policies evaluated\) · preview not needed · approve by --yes", made.output
    )
    assert "Preview e2e" not in made.output, "the engine ran once"
    assert f"Deployment {NAME}" in made.output
    assert "checks met" in made.output
    assert level_of(project) == "debug"
    assert project.generations()[NAME] > before[NAME]

    before = project.generations()
    nothing = project.slipway("up", "-s", "e2e", "--yes")
    assert nothing.code == 0, nothing.output
    assert "objects as declared, 2 checks met" in nothing.output
    assert project.generations() == before

    require_a_liveness_probe(project)
    require_an_approval_of_just_this(project)


def require_a_liveness_probe(project: Any) -> None:
    """A service without one is refused by a preview, an update and a plain update."""
    generation, recorded, content = project.generations(), state(project), state_file(project).read_bytes()
    without = f'{PROBES} if name != "live"'
    project.replace(POD, PROBES, without)
    for command, code in ((("preview", "-s", "e2e"), 3), (("up", "-s", "e2e", "--yes"), 3), ((), 1)):
        result = project.slipway(*command) if command else project.up()
        assert result.code == code, result.output
        assert RULE in result.output
        assert NAME in result.output
        assert "Traceback" not in result.output
        assert project.generations() == generation
        assert state(project) == recorded
        if command:  # a bare `pulumi up` was begun: the engine writes down that it failed
            assert state_file(project).read_bytes() == content
    project.replace(POD, without, PROBES)


def require_an_approval_of_just_this(project: Any) -> None:
    """One of another machine, in a file."""
    project.replace(SERVICE, "LOG_LEVEL: debug", "LOG_LEVEL: error")
    previewed = project.slipway("preview", "-s", "e2e", "--approval", "approval.json")
    assert previewed.code == 0, previewed.output
    project.replace(SERVICE, "LOG_LEVEL: error", "LOG_LEVEL: critical")
    refused = project.slipway("up", "-s", "e2e", "--approved", "approval.json")
    assert refused.code == 1, refused.output
    assert f"files: {SERVICE} (changed)" in refused.output
    assert level_of(project) == "debug"
    project.replace(SERVICE, "LOG_LEVEL: critical", "LOG_LEVEL: error")
    result = project.slipway("up", "-s", "e2e", "--approved", "approval.json")
    assert result.code == 0, result.output
    assert "approve by approval.json" in result.output
    assert level_of(project) == "error"
    again = project.slipway("up", "-s", "e2e", "--approved", "approval.json")
    assert again.code == 1, "the state is another now"
    assert "state: update #" in again.output


@pytest.mark.thorough
def test_a_bare_update_leaves_the_next_one_nothing_to_do(released: Any) -> None:
    released.replace(SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: warning")
    bare = released.up()
    assert bare.code == 0, bare.output
    assert level_of(released) == "warning"
    before = released.generations()
    result = released.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "push nothing new · launch nothing changed" in result.output
    assert "checks met" in result.output
    assert released.generations() == before
