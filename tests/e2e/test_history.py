"""Releases and changes of them on the lab: listed, told apart, verified; then drift by hand, found and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

LEFTOVER = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: leftover
  labels:
    app.kubernetes.io/managed-by: pulumi
    app.kubernetes.io/part-of: slipway
    app.kubernetes.io/name: user-service
"""


@pytest.fixture
def changed(released: Any) -> Any:
    """A second update: another setting, and another secret."""
    released.configure("  slipway:services: {user-service: {env: {LOG_LEVEL: debug}}}\n")
    released.replace("Pulumi.e2e.yaml", "/data/users.db", "/data/other.db")
    second = released.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    return released


def json_of(project: Any, command: str, *arguments: str, code: int = 0) -> Any:
    done = project.slipway(command, "-s", "e2e", *arguments, "--json")
    assert done.code == code, done.output
    return json.loads(done.output)


@pytest.mark.thorough
def test_updates_are_listed_distinguished_and_verified(changed: Any, tmp_path: Any) -> None:
    second, first = json_of(changed, "history")
    assert [(each["number"], each["kind"], each["succeeded"]) for each in (first, second)] == [
        (1, "update", True),
        (2, "update", True),
    ]
    assert [each["name"] for each in first["services"]] == ["order-service", "user-service"]
    assert all(each["oldImage"] == "" and "@sha256:" in each["newImage"] for each in first["services"])
    (service,) = second["services"]
    assert (service["name"], service["oldImage"]) == ("user-service", service["newImage"]), "only settings changed"
    assert "user-service (settings)" in changed.slipway("history", "-s", "e2e").output

    shown = changed.slipway("diff", "-s", "e2e", "1", "2").output
    assert "data.LOG_LEVEL: info → debug" in shown
    assert "order-service" not in shown
    assert "sqlite" not in shown, "secrets are seen and not shown"
    (service,) = json_of(changed, "diff", "1", "2")["services"]
    secret = next(each for each in service["changes"] if each["type"] == "kubernetes:core/v1:Secret")
    assert ("(secret)", "(secret)") in [(field["old"], field["new"]) for field in secret["fields"]]
    assert json_of(changed, "diff", "2")["services"] == []

    found = json_of(changed, "verify")
    assert found["ok"]
    assert [each["service"] for each in found["services"]] == ["order-service", "user-service"]
    assert all(each["checks"] for each in found["services"])
    assert json_of(changed, "drift")["drift"] == []
    assert changed.slipway("drift", "-s", "e2e").output.strip() == "e2e: no drift."

    elsewhere = changed.with_environment(PULUMI_BACKEND_URL=f"file://{tmp_path}")
    shown = elsewhere.slipway("history", "-s", "e2e")
    assert (shown.code, "was never updated" in shown.output) == (0, True)
    for command in ("verify", "drift"):
        refused = elsewhere.slipway(command, "-s", "e2e")
        assert (refused.code, "Nothing is deployed to e2e" in refused.output) == (1, True), refused.output


@pytest.mark.thorough  # test_diagnosis.py has it after other updates
def test_what_was_changed_by_hand_is_named_and_a_rollback_brings_it_back(changed: Any, tmp_path: Path) -> None:
    require_named_and_brought_back(changed, 2, tmp_path)


def require_named_and_brought_back(project: Any, number: int, tmp_path: Path) -> None:
    """Changes by hand since update `number`, the last one: the state is what it left, only the cluster is not."""
    project.kubectl("set", "env", "deployment/user-service", "A=b")
    project.kubectl("scale", "deployment/user-service", "--replicas=0")
    project.kubectl("label", "service/order-service", "app.kubernetes.io/name=other", "--overwrite")
    project.kubectl("delete", "poddisruptionbudget/order-service")
    (tmp_path / "leftover.yaml").write_text(LEFTOVER)
    project.kubectl("create", "-f", str(tmp_path / "leftover.yaml"))

    found = {(each["operation"], each["name"]): each for each in json_of(project, "drift", code=6)["drift"]}
    assert sorted(found) == [
        ("changed", "order-service"),
        ("changed", "user-service"),
        ("gone", "order-service"),
        ("not in the state", "leftover"),
    ]
    fields = {field["path"]: field for field in found["changed", "user-service"]["fields"]}
    assert (fields["spec.replicas"]["old"], fields["spec.replicas"]["new"]) == ("1", "0")
    assert [path for path in fields if ".env" in path], "what kubectl set env added"
    assert "kubectl-set" in found["changed", "user-service"]["changedBy"]
    (label,) = found["changed", "order-service"]["fields"]
    assert label["path"] == 'metadata.labels["app.kubernetes.io/name"]'
    assert found["not in the state", "leftover"]["service"] == "user-service"
    shown = project.slipway("drift", "-s", "e2e")
    assert shown.code == 6
    assert "~ Deployment user-service, changed by kubectl" in shown.output
    assert "- PodDisruptionBudget order-service, gone from the cluster" in shown.output

    previewed = project.slipway("preview", "-s", "e2e", "--drift", "--json", str(tmp_path / "preview.json"))
    assert previewed.code == 6, previewed.output
    assert set(shown.output.splitlines()) <= set(previewed.output.splitlines()), "one answer"
    of_preview = json.loads((tmp_path / "preview.json").read_text())["drift"]
    assert {each["urn"] for each in of_preview} == {each["urn"] for each in found.values()}
    assert {each["urn"]: each["changedBy"] for each in of_preview} == {
        each["urn"]: each["changedBy"] for each in found.values()
    }

    shown = project.slipway("verify", "-s", "e2e")
    assert shown.code == 1, shown.output
    assert "user-service: failed, the Deployment in the cluster has 0 replicas, the state says 1" in shown.output
    assert "check failed: GET /users" in shown.output
    assert not json_of(project, "verify", code=1)["ok"]

    drifted = project.slipway("up", "-s", "e2e", "--yes")
    assert drifted.code == 6, "nothing was updated, and it is no success: " + drifted.output
    assert "replicas: 1 → 0" in drifted.output
    assert "`slipway up -s e2e --refresh`" in drifted.output

    done = project.slipway("rollback", "-s", "e2e", "--to", str(number), "--yes")
    assert done.code == 0, done.output
    looked = next(line for line in done.output.splitlines() if line.startswith("The cluster differs from the state"))
    for each in ("Deployment user-service", "Service order-service", "PodDisruptionBudget order-service"):
        assert each in looked
    left_over = "and 1 object that was never recorded (ConfigMap leftover), 2 checks met"
    assert f"recorded inputs are the same, {left_over}" in done.output
    assert "Update Secret" not in done.output, "nobody touched the Secrets"
    assert json_of(project, "verify")["ok"]
    left = json_of(project, "drift", code=6)["drift"]
    assert {each["name"] for each in left} == {"leftover"}, "what kubectl has set goes with the object's update"


@pytest.mark.thorough
def test_an_update_brings_back_what_was_changed_by_hand(released: Any) -> None:
    """With --refresh what somebody else has set is taken over: else it would stand against every update after it."""
    released.kubectl("set", "image", "deployment/user-service", "user-service=nowhere.invalid/hotfix:1")
    released.kubectl("delete", "service/order-service")
    assert not json_of(released, "verify", code=1)["ok"]
    refreshed = released.slipway("up", "-s", "e2e", "--yes", "--refresh")
    assert refreshed.code == 0, refreshed.output
    assert json_of(released, "verify")["ok"]
    released.kubectl("delete", "deployment/order-service")
    plain = released.slipway("up", "-s", "e2e", "--yes")
    assert plain.code == 6, "nothing else has changed: " + plain.output
    assert "Deployment order-service, gone from the cluster" in plain.output
    forced = released.slipway("up", "-s", "e2e", "--yes", "--force")
    assert forced.code == 4, "an update finds out by its checks: " + forced.output
    assert "The cluster differed from the state, which may be the cause: Deployment order-service." in forced.output
    assert json_of(released, "verify")["ok"]


@pytest.mark.thorough
def test_what_the_state_has_forgotten_is_taken_in_again(released: Any) -> None:
    """The Secret stands for those whose inputs are encrypted."""
    for name, *more in (("up",), ("rollback", "--to", "1")):
        exported = json.loads(released.run("pulumi", "stack", "export", "--stack", "e2e").output)["deployment"]
        urns = [each["urn"] for each in exported["resources"] if "Microservice$" in each["urn"]]
        for kind in ("Deployment::order-service", "Secret::order-service"):
            (urn,) = (each for each in urns if kind in each)
            forgotten = released.run("pulumi", "state", "delete", urn, "--stack", "e2e", "--yes")
            assert forgotten.code == 0, forgotten.output
        before = released.deployments()["order-service"]["metadata"]["uid"]
        done = released.slipway(name, "-s", "e2e", "--yes", *more)
        assert done.code == 0, done.output
        assert "this stack created it, but its state does not list it" in done.output
        assert released.deployments()["order-service"]["metadata"]["uid"] == before
        assert json_of(released, "verify")["ok"]
        assert len(json_of(released, "verify")["services"]) == 2
