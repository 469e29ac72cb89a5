"""The gate on the real lab: what breaks a rule is refused whichever way it comes, and what keeps them all goes through.

The tests of this module build on each other: the first one brings the environment up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.gate.approval import telling

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

RULE = "liveness-probe"
POD = "components/pod.py"
PROBE = '        "liveness_probe": liveness_probe(spec.health, PORT_NAME),\n'
SERVICE = "services/user_service/service.yaml"
NAME = "user-service"


def generations(project: Any) -> dict[str, int]:
    return {name: item["metadata"]["generation"] for name, item in project.deployments().items()}


def state_file(project: Any) -> Path:
    backend = Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    return backend / ".pulumi" / "stacks" / "slipway" / "e2e.json"


def state(project: Any) -> dict[str, Any]:
    """All of it but when it was written, and under which nonces."""
    return telling(json.loads(state_file(project).read_text())["checkpoint"]["latest"])


def level_of(project: Any) -> str:
    """The value of LOG_LEVEL that the pods of the service have now."""
    container = project.deployments()[NAME]["spec"]["template"]["spec"]["containers"][0]
    name = container["envFrom"][0]["configMapRef"]["name"]
    return str(project.get(f"/api/v1/namespaces/{project.namespace}/configmaps/{name}")["data"]["LOG_LEVEL"])


def test_a_first_update_goes_through_the_gate(project: Any) -> None:
    result = project.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "Create (" in result.output
    assert "every" in result.output.split("policies asked", 1)[1].splitlines()[0]
    assert "approve by --yes" in result.output
    assert level_of(project) == "info"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("preview", "-s", "e2e"), 3),
        (("up", "-s", "e2e", "--yes"), 3),
        ((), 1),
    ],
    ids=["slipway preview", "slipway up", "pulumi up"],
)
def test_a_service_without_a_liveness_probe_is_refused(project: Any, command: tuple[str, ...], code: int) -> None:
    generation, recorded, content = generations(project), state(project), state_file(project).read_bytes()
    project.replace(POD, PROBE, "")
    try:
        result = project.slipway(*command) if command else project.up()
        assert result.code == code, result.output
        assert RULE in result.output
        assert NAME in result.output
        assert "Traceback" not in result.output
        assert generations(project) == generation
        assert state(project) == recorded
        if command:  # a bare `pulumi up` was begun: the engine writes down that it failed
            assert state_file(project).read_bytes() == content
    finally:
        project.replace(POD, '        "readiness_probe"', f'{PROBE}        "readiness_probe"')


def test_a_compliant_change_is_previewed(project: Any) -> None:
    before = generations(project)
    project.replace(SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: debug")
    result = project.slipway("preview", "-s", "e2e")
    assert result.code == 0, result.output
    assert "kept everywhere" in result.output
    assert f"Deployment {NAME}" in result.output
    assert generations(project) == before


def test_the_same_change_is_made_by_slipway_up(project: Any) -> None:
    before = generations(project)
    result = project.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert f"Deployment {NAME}" in result.output
    assert "checks met" in result.output
    assert level_of(project) == "debug"
    assert generations(project)[NAME] > before[NAME]


def test_an_approval_of_another_machine_holds_for_just_what_it_is_of(project: Any) -> None:
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


def test_another_one_is_made_by_a_bare_pulumi_up(project: Any) -> None:
    project.replace(SERVICE, "LOG_LEVEL: error", "LOG_LEVEL: warning")
    result = project.up()
    assert result.code == 0, result.output
    assert level_of(project) == "warning"


def test_nothing_is_asked_and_nothing_changes_where_nothing_has_changed(project: Any) -> None:
    before = generations(project)
    result = project.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "nothing to do" in result.output
    assert "approve not needed" in result.output
    assert "checks met" in result.output
    assert generations(project) == before
