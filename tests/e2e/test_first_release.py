"""From nothing to two services answering, and what an update of them may meet before anything is deployed."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import copy_unit_tests

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

APPLICATION = "services/user_service/user_service/routes.py"
KIT = "services/kit/kit/health.py"


def images(project: Any) -> dict[str, str]:
    return {name: service["image"] for name, service in project.outputs()["services"].items()}


def eventually(found: Any, wanted: Any, timeout_seconds: float = 60) -> None:
    """Returns once `found()` is what is wanted."""
    deadline = time.monotonic() + timeout_seconds
    while (met := found()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    assert met == wanted


def order(users: str, orders: str, item: str) -> None:
    """Place one at these addresses, which is open, for a new user."""
    user = {"name": "Ada", "email": f"{item}@example.com"}
    created = httpx.post(f"{users}/users", json=user)
    assert created.status_code == 201, created.text
    order = {"user_id": created.json()["id"], "item": item, "quantity": 1}
    placed = httpx.post(f"{orders}/orders", json=order)
    assert (placed.status_code, placed.json()["status"]) == (201, "open"), placed.text


def statuses(orders: str) -> list[str]:
    return [each["status"] for each in httpx.get(f"{orders}/orders").json()["orders"]]


def test_one_command_brings_the_example_up_and_one_takes_it_away(whole_example: Any) -> None:
    """All of services/: an order is placed, confirmed by the worker, and deleted by the cron job."""
    project = whole_example
    result = project.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    users, orders = project.url("user-service"), project.url("order-service")
    assert users in result.output
    assert orders in result.output
    order(users, orders, "keel")
    eventually(lambda: statuses(orders), ["confirmed"])
    refused = httpx.post(f"{orders}/orders", json={"user_id": 4242, "item": "keel", "quantity": 1})
    assert 400 <= refused.status_code < 500
    assert "4242" in refused.text

    pods = project.get(f"/api/v1/namespaces/{project.namespace}/pods")["items"]
    assert [each["metadata"]["ownerReferences"][0]["kind"] for each in pods].count("ReplicaSet") == 3
    for pod in pods:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert "@sha256:" in pod["spec"]["containers"][0]["image"]
        assert not any("kube-api-access" in volume["name"] for volume in pod["spec"]["volumes"])
    jobs = f"/apis/batch/v1/namespaces/{project.namespace}/jobs"
    (migration,) = project.get(f"{jobs}?labelSelector=slipway.dev/migration")["items"]
    assert migration["status"]["conditions"][-1]["type"] == "Complete"

    # The pod that runs at night, with orders that are old at once.
    kubectl = ("kubectl", "-n", project.namespace)
    create = (*kubectl, "create", "job", "--from=cronjob/order-cleanup", "by-hand")
    job = json.loads(project.run(*create, "--dry-run=client", "--output=json").output)
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [*container.get("env", []), {"name": "KEEP_DAYS", "value": "0.00001"}]
    file = project.folder / "by-hand.json"
    file.write_text(json.dumps(job))
    assert project.run(*kubectl, "create", "-f", str(file)).code == 0
    eventually(lambda: statuses(orders), [])

    destroyed = project.run("pulumi", "destroy", "--stack", "e2e", "--yes", "--skip-preview", "--non-interactive")
    assert destroyed.code == 0, destroyed.output
    assert project.deployments() == {}
    assert project.namespace not in project.namespaces()


@pytest.mark.thorough
def test_orders_stay_over_a_migration_and_over_a_rollback_of_it(whole_example: Any) -> None:
    project = whole_example
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    users, orders = project.url("user-service"), project.url("order-service")
    order(users, orders, "keel")
    eventually(lambda: statuses(orders), ["confirmed"])
    versions = project.folder / "services/order_service/order_service/migrations/versions"
    (versions / "r3_note.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '3'\ndown_revision = '2'\n\n\n"
        "def upgrade():\n    op.add_column('orders', sa.Column('note', sa.Text()))\n"
    )
    second = project.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert statuses(orders) == ["confirmed"]
    back = project.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert "The migrations since" in back.output
    order(users, orders, "oar")
    eventually(lambda: statuses(orders), ["confirmed", "confirmed"])


def test_an_update_builds_just_what_has_changed_and_nothing_that_fails_its_unit_tests(
    project: Any, tmp_path: Path
) -> None:
    test_file = project.folder / "services/user_service/tests/test_broken.py"
    broken = "def test_broken() -> None:\n    assert 'keel' == 'mast', 'the ship is upside down'\n"
    assert project.run("pulumi", "stack", "init", "e2e").code == 0

    test_file.write_text(broken)
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert (first.code, "the ship is upside down" in first.output) == (1, True), first.output
    assert project.namespace not in project.namespaces()

    test_file.unlink()
    fixed = project.slipway("up", "-s", "e2e", "--yes")
    assert fixed.code == 0, fixed.output
    assert "preview not needed" in fixed.output

    before, generation = images(project), project.generations()
    nothing = project.up()
    assert nothing.code == 0, nothing.output
    assert not [word for word in ("created", "updated", "replaced") if word in nothing.output], nothing.output
    assert "unchanged" in nothing.output
    assert project.generations() == generation
    project.replace(APPLICATION, '"""', '"""Changed. ')
    result = project.up()
    assert result.code == 0, result.output
    after = images(project)
    assert after["user-service"] != before["user-service"]
    assert after["order-service"] == before["order-service"]
    assert project.generations()["order-service"] == generation["order-service"]
    assert project.generations()["user-service"] > generation["user-service"]

    generation = project.generations()
    test_file.write_text(broken)
    again = project.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 1, again.output
    assert "the ship is upside down" in again.output
    assert "test_broken" in again.output
    assert project.generations() == generation
    test_file.unlink()
    require_refusals(project, tmp_path)
    assert project.generations() == generation


def require_refusals(project: Any, tmp_path: Path) -> None:
    """Settings that are wrong, a cluster and a registry that do not answer, another passphrase are reported."""
    for settings, message in (
        ("  slipway:registery: x\n", "unknown key `slipway:registery`; did you mean `slipway:registry`?"),
        ("  slipway:context: nowhere\n", "nowhere"),
    ):
        project.configure(settings)
        result = project.slipway("up", "-s", "e2e", "--yes")
        assert result.code == 2, result.output
        assert message in result.output
        assert "Traceback" not in result.output
    project.configure("")

    kubeconfig = tmp_path / "kubeconfig"
    text = Path(project.environment["KUBECONFIG"]).read_text()
    kubeconfig.write_text(re.sub(r"https://[^\s\"']+", "https://127.0.0.1:1", text))
    unreachable = project.with_environment(KUBECONFIG=str(kubeconfig)).slipway("up", "-s", "e2e", "--yes")
    assert unreachable.code == 1, unreachable.output
    assert "127.0.0.1:1" in unreachable.output
    assert "Traceback" not in unreachable.output

    elsewhere = project.with_environment(SLIPWAY_REGISTRY="127.0.0.1:1/e2e", SLIPWAY_BASE_IMAGE="127.0.0.1:1/base:1")
    for command in (elsewhere.slipway("up", "-s", "e2e", "--yes"), elsewhere.up()):
        assert command.code != 0
        assert "127.0.0.1:1" in command.output
        assert "Traceback" not in command.output

    wrong = project.with_environment(PULUMI_CONFIG_PASSPHRASE="wrong")
    result = wrong.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 2, result.output
    assert "The passphrase does not decrypt the secrets of stack e2e." in result.output


@pytest.mark.thorough
def test_a_change_of_the_kit_is_tested_and_built_in_every_service_that_takes_it_in(
    released: Any, sources: list[str]
) -> None:
    copy_unit_tests(released.folder, sources)
    assert released.up().code == 0
    before = images(released)
    released.replace(KIT, 'status="ready"', 'status="raedy"')
    broken = released.slipway("up", "-s", "e2e", "--yes")
    assert broken.code == 1, broken.output
    for name in ("user-service", "order-service"):
        assert f"Image {name}: a step of the build ended with exit code 1" in broken.output
    assert images(released) == before
    released.replace(KIT, 'status="raedy"', 'status="ready"')
    released.replace(KIT, '"""', '"""Changed. ')
    changed = released.up()
    assert changed.code == 0, changed.output
    assert {name for name, image in images(released).items() if image != before[name]} == {
        "order-service",
        "user-service",
    }


@pytest.mark.thorough
def test_a_failing_check_fails_the_update_and_runs_again(released: Any) -> None:
    wrong = {"user-service": {"checks": [{"get": "/users", "has": "no such words"}]}}
    released.configure(f"  slipway:services: {json.dumps(wrong)}\n")
    for attempt in ("changed", "nothing changed"):
        result = released.up()
        assert result.code != 0, attempt
        assert "user-service: GET /users of pod user-service-" in result.output, attempt
        assert "no such words" in result.output, attempt
        assert "Traceback" not in result.output, attempt
    released.configure("")
    fixed = released.up()
    assert fixed.code == 0, fixed.output


@pytest.mark.thorough
def test_a_rollout_that_fails_never_takes_the_old_pods_away(released: Any) -> None:
    url = released.url("user-service")
    broken = {"user-service": {"health": {"ready": "/no-such-path"}, "rollout": {"progressDeadlineSeconds": 15}}}
    released.configure(f"  slipway:services: {json.dumps(broken)}\n")
    result = released.up()
    assert result.code != 0
    assert "user-service" in result.output
    assert "Readiness probe failed" in result.output or "unready status: [user-service]" in result.output
    assert httpx.get(f"{url}/users").status_code == 200
    released.configure("")
    fixed = released.up()
    assert fixed.code == 0, fixed.output
