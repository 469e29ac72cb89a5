"""An update that could change nothing needs no engine: the cluster, the checks and the registry are asked instead."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

NAME = "user-service"


def updates(project: Any) -> int:
    return len(list((project.folder.parent / "backend").glob(".pulumi/history/**/*.history.json")))


def scale(project: Any, replicas: int) -> None:
    client.AppsV1Api(project.api()).patch_namespaced_deployment_scale(
        NAME, project.namespace, {"spec": {"replicas": replicas}}, field_manager="by-hand"
    )


@pytest.mark.thorough
def test_what_is_as_the_last_update_left_it_is_looked_at_and_left(released: Any) -> None:
    assert released.slipway("up", "-s", "e2e", "--yes", "--force").code == 0
    before = updates(released)
    again = released.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 0, again.output
    assert "objects as declared, 2 checks met" in again.output
    assert f"{NAME} " in again.output
    assert "http://" in again.output
    assert updates(released) == before, "no update was begun"

    forced = released.slipway("up", "-s", "e2e", "--yes", "--force")
    assert forced.code == 0, forced.output
    assert "preview not needed" in forced.output
    assert updates(released) == before + 1


@pytest.mark.thorough
def test_what_was_done_by_hand_is_reported_and_not_called_a_success(released: Any) -> None:
    assert released.slipway("up", "-s", "e2e", "--yes", "--force").code == 0
    scale(released, 2)
    for more in ([], ["--force"]):  # which has the engine run, as on a machine that did not make the last update
        drifted = released.slipway("up", "-s", "e2e", "--yes", *more)
        assert drifted.code == 6, drifted.output
        assert "replicas: 1 → 2" in drifted.output
        assert "by-hand" in drifted.output
        assert "`slipway up -s e2e --refresh`" in drifted.output

    back = released.slipway("up", "-s", "e2e", "--yes", "--refresh")
    assert back.code == 0, back.output
    assert released.deployments()[NAME]["spec"]["replicas"] == 1
    assert "no drift" in released.slipway("drift", "-s", "e2e").output
