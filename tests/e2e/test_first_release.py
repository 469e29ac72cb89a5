"""From nothing to two services answering, and every way an update of them can go, on the real lab.

The tests of this module build on each other: each leaves the environment as the next one wants it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

APPLICATION = "services/user_service/user_service/routes.py"


def generations(project: Any) -> dict[str, int]:
    return {name: item["metadata"]["generation"] for name, item in project.deployments().items()}


def images(project: Any) -> dict[str, str]:
    return {name: service["image"] for name, service in project.outputs()["services"].items()}


def test_one_command_brings_both_services_up(project: Any) -> None:
    result = project.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert project.url("user-service") in result.output
    assert project.url("order-service") in result.output
    created = httpx.post(f"{project.url('user-service')}/users", json={"name": "Ada", "email": "ada@example.com"})
    assert created.status_code == 201, created.text
    order = {"user_id": created.json()["id"], "item": "keel", "quantity": 1}
    placed = httpx.post(f"{project.url('order-service')}/orders", json=order)
    assert placed.status_code == 201, placed.text
    assert httpx.get(f"{project.url('order-service')}/orders").json()["total"] == 1


def test_an_order_for_an_unknown_user_is_refused(project: Any) -> None:
    order = {"user_id": 4242, "item": "keel", "quantity": 1}
    refused = httpx.post(f"{project.url('order-service')}/orders", json=order)
    assert 400 <= refused.status_code < 500
    assert "4242" in refused.text


def test_pods_run_restricted(project: Any) -> None:
    pods = project.get(f"/api/v1/namespaces/{project.namespace}/pods")["items"]
    assert len(pods) == 2
    for pod in pods:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert "@sha256:" in pod["spec"]["containers"][0]["image"]
        assert not any("kube-api-access" in volume["name"] for volume in pod["spec"]["volumes"])


def test_a_second_update_changes_and_builds_nothing(project: Any) -> None:
    before = generations(project)
    result = project.up()
    assert result.code == 0, result.output
    assert "created" not in result.output
    assert "updated" not in result.output
    assert "replaced" not in result.output
    assert "unchanged" in result.output
    assert generations(project) == before


def test_a_changed_source_file_rebuilds_just_its_service(project: Any) -> None:
    before, generation = images(project), generations(project)
    project.replace(APPLICATION, '"""', '"""Changed. ')
    result = project.up()
    assert result.code == 0, result.output
    after = images(project)
    assert after["user-service"] != before["user-service"]
    assert after["order-service"] == before["order-service"]
    assert generations(project)["order-service"] == generation["order-service"]
    assert generations(project)["user-service"] > generation["user-service"]


def test_a_failing_unit_test_stops_the_update_before_anything_is_deployed(project: Any) -> None:
    before, test_file = generations(project), project.folder / "services/user_service/tests/test_broken.py"
    test_file.write_text("def test_broken() -> None:\n    assert 'keel' == 'mast', 'the ship is upside down'\n")
    try:
        result = project.slipway("up", "-s", "e2e", "--yes")
        assert result.code == 1, result.output
        assert "the ship is upside down" in result.output
        assert "test_broken" in result.output
        assert generations(project) == before
    finally:
        test_file.unlink()
    mended = project.up()
    assert mended.code == 0, mended.output


def test_a_failing_check_fails_the_update_and_is_asked_again(project: Any) -> None:
    wrong = {"user-service": {"checks": [{"get": "/users", "has": "no such words"}]}}
    project.configure(f"  slipway:services: {json.dumps(wrong)}\n")
    for attempt in ("changed", "nothing changed"):
        result = project.up()
        assert result.code != 0, attempt
        assert "user-service: GET /users answered 200" in result.output, attempt
        assert "no such words" in result.output, attempt
        assert "Traceback" not in result.output, attempt
    project.configure("")
    mended = project.up()
    assert mended.code == 0, mended.output


def test_a_rollout_that_fails_never_takes_the_old_pods_away(project: Any) -> None:
    url = project.url("user-service")
    broken = {"user-service": {"health": {"ready": "/no-such-path"}, "rollout": {"progressDeadlineSeconds": 15}}}
    project.configure(f"  slipway:services: {json.dumps(broken)}\n")
    result = project.up()
    assert result.code != 0
    assert "user-service" in result.output
    assert "Readiness probe failed" in result.output or "unready status: [user-service]" in result.output
    assert httpx.get(f"{url}/users").status_code == 200
    project.configure("")
    mended = project.up()
    assert mended.code == 0, mended.output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("  slipway:services: {user-service: {replcas: 2}}\n", "unknown key `replcas`; did you mean `replicas`?"),
        ("  slipway:registery: x\n", "unknown key `slipway:registery`; did you mean `slipway:registry`?"),
        ("  slipway:context: nowhere\n", "nowhere"),
    ],
)
def test_bad_configuration_is_refused_with_one_message(project: Any, settings: str, message: str) -> None:
    before = generations(project)
    project.configure(settings)
    try:
        result = project.slipway("up", "-s", "e2e", "--yes")
        assert result.code == 2, result.output
        assert message in result.output
        assert "Traceback" not in result.output
        assert generations(project) == before
    finally:
        project.configure("")


def test_an_unreachable_cluster_changes_nothing_and_says_so(project: Any, tmp_path: Any) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    text = Path(project.environment["KUBECONFIG"]).read_text()
    kubeconfig.write_text(re.sub(r"https://[^\s\"']+", "https://127.0.0.1:1", text))
    before = generations(project)
    result = project.with_environment(KUBECONFIG=str(kubeconfig)).slipway("up", "-s", "e2e", "--yes")
    assert result.code == 1, result.output
    assert "127.0.0.1:1" in result.output
    assert "Traceback" not in result.output
    assert generations(project) == before


def test_an_unreachable_registry_changes_nothing_and_says_so(project: Any) -> None:
    before = generations(project)
    elsewhere = project.with_environment(SLIPWAY_REGISTRY="127.0.0.1:1/e2e", SLIPWAY_BASE_IMAGE="127.0.0.1:1/base:1")
    for command in (elsewhere.slipway("up", "-s", "e2e", "--yes"), elsewhere.up()):
        assert command.code != 0
        assert "127.0.0.1:1" in command.output
        assert "Traceback" not in command.output
    assert generations(project) == before


def test_a_wrong_passphrase_changes_nothing_and_says_so(project: Any) -> None:
    wrong = project.with_environment(PULUMI_CONFIG_PASSPHRASE="wrong")
    result = wrong.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 2, result.output
    assert "The passphrase does not open the secrets of stack e2e." in result.output


def test_destroy_leaves_the_namespace_empty(project: Any) -> None:
    result = project.run("pulumi", "destroy", "--stack", "e2e", "--yes", "--skip-preview", "--non-interactive")
    assert result.code == 0, result.output
    assert project.deployments() == {}
    namespaces = project.get("/api/v1/namespaces")["items"]
    assert project.namespace not in {item["metadata"]["name"] for item in namespaces}
