"""What somebody does to a release with kubectl is found, and `slipway up --refresh` takes all of it back."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e, pytest.mark.thorough]

UP = ("up", "-s", "e2e", "--yes")
# What is done to user-service, and what is then said of it.
BY_HAND = {
    "rollout undo": "configMapRef.name: user-service-",  # first: it goes back to the revision before the last one
    "rollout pause": "spec.paused",
    "scale --replicas=3": "replicas: 1 → 3",
    "rollout restart": "kubectl.kubernetes.io/restartedAt",
    "set env ADDED=by-hand": "env.ADDED: - → by-hand",
    "set resources --limits=memory=256Mi": "resources.memory: 128Mi → 256Mi",
    "annotate note=by-hand": "metadata.annotations.note",
    "label team=by-hand": "metadata.labels.team",
}


def test_each_is_found_and_taken_back(released: Any) -> None:
    released.replace("services/user_service/service.yaml", "env: {LOG_LEVEL: info}", "env: {LOG_LEVEL: debug}")
    assert released.slipway(*UP).code == 0
    # As long as a pod of the release before is ending, the kubelet has kept its immutable ConfigMap.
    deadline = time.monotonic() + 90
    while len(pods := released.get(f"/api/v1/namespaces/{released.namespace}/pods")["items"]) > 2:
        assert time.monotonic() < deadline, pods
        time.sleep(1)
    for command, told in BY_HAND.items():
        verb, *rest = command.split()
        words = [verb, rest.pop(0)] if verb in ("rollout", "set") else [verb]
        by_hand = released.run("kubectl", "-n", released.namespace, *words, "deployment/user-service", *rest)
        assert by_hand.code == 0, by_hand.output
        again = released.slipway(*UP)
        assert again.code == 6, f"{command}: {again.output}"
        assert told in again.output
        if command == "rollout undo":  # as docs/rollback.md has it
            deadline = time.monotonic() + 60
            get_pods = ("kubectl", "-n", released.namespace, "get", "pods")
            while "CreateContainerConfigError" not in (shown := released.run(*get_pods)).output:
                assert time.monotonic() < deadline, shown.output
                time.sleep(1)
            assert httpx.get(f"{released.url('user-service')}/users").status_code == 200
        back = released.slipway(*UP, "--refresh")
        assert back.code == 0, f"{command}: {back.output}"
        assert released.slipway("drift", "-s", "e2e").output == "e2e: no drift.\n", command
