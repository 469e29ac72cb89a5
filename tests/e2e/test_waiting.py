"""What an update waits for, and what it does not take for a failure of the release."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.e2e.bad_releases import overrides

pytestmark = [pytest.mark.lab, pytest.mark.e2e]


@pytest.mark.thorough
def test_a_paused_deployment_is_reported_within_seconds_and_taken_back(released: Any) -> None:
    # One that `kubectl rollout pause` has set is the provider's to take away: it takes over what kubectl wrote.
    paused = '{"spec":{"paused":true}}'
    released.kubectl("patch", "deployment/user-service", "--field-manager=release-freeze", "-p", paused)
    released.configure(overrides(resources={"memory": "130Mi"}))
    began = time.monotonic()
    refused = released.slipway("up", "-s", "e2e", "--yes")
    assert refused.code == 4, refused.output
    assert time.monotonic() - began < 60
    flat = " ".join(refused.output.split())
    assert "user-service is paused: its Deployment does not roll out until it is resumed" in flat
    assert "`spec.paused` was set by release-freeze" in flat
    command = f"kubectl -n {released.namespace} rollout resume deployment/user-service"
    assert command in flat
    assert "and 1 field that was never declared (Deployment user-service: spec.paused)" in flat
    released.kubectl("rollout", "resume", "deployment/user-service")
    assert released.slipway("up", "-s", "e2e", "--yes").code == 0


@pytest.mark.thorough
def test_a_rollout_that_progresses_is_waited_for_beyond_its_deadline(released: Any) -> None:
    """Four replicas, one after the other, each of which has to stay ready for 12 s."""
    released.configure(overrides(15, 12, replicas=4))
    assert released.slipway("up", "-s", "e2e", "--yes").code == 0
    released.configure(overrides(15, 12, replicas=4, resources={"memory": "130Mi"}))
    began = time.monotonic()
    done = released.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert time.monotonic() - began > 4 * 12


@pytest.mark.thorough
def test_what_will_not_go_takes_no_good_release_back(released: Any) -> None:
    with_short_patience(released)
    listed = released.kubectl("get", "configmap", "-o", "name")
    (old,) = (name for name in listed.split() if name.startswith("configmap/user-service-"))
    released.kubectl("patch", old, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/keep"]}}')
    try:
        released.configure(overrides(env={"LOG_LEVEL": "debug"}))
        # The time-out of a deletion is that of the update before.
        assert released.slipway("up", "-s", "e2e", "--yes", "--refresh").code in (0, 1)
        done = released.slipway("up", "-s", "e2e", "--yes")
        assert done.code == 1, done.output
        assert "e2e is updated and its checks are met, but 1 object could not be deleted." in done.output
        assert old.partition("/")[2] in done.output
        assert "rolled back" not in done.output
        assert httpx.get(f"{released.url('user-service')}/users").status_code == 200
    finally:
        released.kubectl("patch", old, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    again = released.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 0, again.output


def with_short_patience(project: Any) -> None:
    file = project.folder / "components" / "kubernetes_defaults.py"
    file.write_text(file.read_text().replace('DELETE_TIMEOUT = "120s"', 'DELETE_TIMEOUT = "10s"', 1))
    rollouts = project.folder / "components" / "rollouts.py"
    rollouts.write_text(rollouts.read_text().replace("ADDRESS_SECONDS = 60.0", "ADDRESS_SECONDS = 5.0"))
    assert project.slipway("up", "-s", "e2e", "--yes").code == 0


@pytest.mark.thorough
def test_a_load_balancer_without_an_address_is_no_failure(released: Any) -> None:
    with_short_patience(released)
    released.configure(overrides(service={"type": "LoadBalancer"}))
    done = released.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert "Its load balancer has no address 5 s after it was created" in " ".join(done.output.split())
    assert (
        json.loads(released.kubectl("get", "service", "user-service", "-o", "json"))["spec"]["type"] == "LoadBalancer"
    )


@pytest.mark.thorough
def test_what_was_changed_by_hand_ends_no_update_in_a_field_conflict(released: Any) -> None:
    released.kubectl("scale", "deployment/user-service", "--replicas=2")
    released.kubectl("set", "image", "deployment/user-service", "user-service=nowhere.invalid/hotfix:1")
    released.configure(overrides(replicas=3, resources={"memory": "130Mi"}))
    done = released.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert "conflict" not in done.output
    assert released.slipway("drift", "-s", "e2e").code == 0
