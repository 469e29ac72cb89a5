"""Which objects are not ready, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.cli.diff import verdict_lines
from slipway.cluster.deployed import ApiResource
from slipway.cluster.readiness import UnreadyObject, problem
from slipway.cluster.verification import ServiceVerdict, with_objects

CRON_JOB = ApiResource("batch/v1", "CronJob")
JOB = ApiResource("batch/v1", "Job")
WIDGET = ApiResource("example.com/v1", "Widget")
FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached its limit"}
COMPLETE = {"type": "Complete", "status": "True"}


def item(**status: Any) -> dict[str, Any]:
    spec = status.pop("spec", {})
    return {"metadata": {"name": "a", "uid": "1", "generation": 2}, "spec": spec, "status": status}


def job(name: str, created: str, *conditions: dict[str, str], owner: str = "1") -> dict[str, Any]:
    metadata = {"name": name, "creationTimestamp": created, "ownerReferences": [{"uid": owner}]}
    return {"metadata": metadata, "status": {"conditions": list(conditions)}}


CASES: list[tuple[ApiResource, dict[str, Any], str]] = [
    (ApiResource("v1", "PersistentVolumeClaim"), item(phase="Bound"), ""),
    (ApiResource("v1", "PersistentVolumeClaim"), item(phase="Pending"), "it is pending, not bound to a volume"),
    (ApiResource("v1", "Pod"), item(phase="Succeeded"), ""),
    (ApiResource("v1", "Pod"), item(phase="Running"), "it is running, and not ready"),
    (ApiResource("v1", "ConfigMap"), item(), ""),
    (
        ApiResource("apps/v1", "StatefulSet"),
        item(spec={"replicas": 2}, readyReplicas=2, updatedReplicas=2, observedGeneration=2),
        "",
    ),
    (
        ApiResource("apps/v1", "StatefulSet"),
        item(spec={"replicas": 2}, readyReplicas=1, updatedReplicas=2, observedGeneration=2),
        "1 of 2 pods ready, 2 updated",
    ),
    (
        ApiResource("apps/v1", "StatefulSet"),
        item(spec={"replicas": 1}, readyReplicas=1, updatedReplicas=1, observedGeneration=1),
        "its controller has not seen its last change yet (generation 2, seen 1)",
    ),
    (
        ApiResource("apps/v1", "DaemonSet"),
        item(desiredNumberScheduled=3, numberAvailable=2, updatedNumberScheduled=3, observedGeneration=2),
        "2 of 3 pods available, 3 updated",
    ),
    (JOB, item(conditions=[COMPLETE]), ""),
    (JOB, item(conditions=[FAILED]), "it failed: BackoffLimitExceeded, Job has reached its limit"),
    (JOB, item(active=1), "it is not complete: 1 pods active"),
    (JOB, item(spec={"suspend": True}), ""),
    (WIDGET, item(), ""),
    (WIDGET, item(conditions=[{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]), ""),
    (
        WIDGET,
        item(conditions=[{"type": "Ready", "status": "False", "reason": "NoQuota", "message": "none is left"}]),
        "its condition Ready is False: NoQuota, none is left",
    ),
    (WIDGET, item(conditions=[{"type": "Available", "status": "Unknown"}]), "its condition Available is Unknown"),
    (WIDGET, item(conditions=[{"type": "Stalled", "status": "True"}]), "its condition Stalled is True"),
    (ApiResource("networking.k8s.io/v1", "Ingress"), item(conditions=[{"type": "Ready", "status": "False"}]), ""),
]


@pytest.mark.parametrize(("kind", "live", "wanted"), CASES)
def test_each_kind_has_its_own_way_to_be_ready(kind: ApiResource, live: Any, wanted: str) -> None:
    assert problem(kind, live) == wanted


def test_a_cron_job_is_as_good_as_its_last_job_that_ended() -> None:
    first, second = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
    assert problem(CRON_JOB, item(), []) == ""
    assert problem(CRON_JOB, item(), [job("b", second, COMPLETE), job("a", first, FAILED)]) == ""
    assert problem(CRON_JOB, item(), [job("a", first, FAILED, owner="2")]) == "", "another one's"
    told = "its last Job b failed: BackoffLimitExceeded, Job has reached its limit"
    assert problem(CRON_JOB, item(), [job("a", first, COMPLETE), job("b", second, FAILED)]) == told
    assert problem(CRON_JOB, item(), [job("b", first, FAILED), job("c", second)]) == told, "the next one only runs"


def test_an_unready_object_is_a_problem_of_its_service() -> None:
    service = ServiceVerdict("user-service", "dev", 1, 1, ("r/u@sha256:12345678",), 1, ())
    claim = UnreadyObject("PersistentVolumeClaim", "exports", "dev", "user-service", "it is pending")
    stray = UnreadyObject("CronJob", "nightly", "dev", "", "its last Job failed")
    found = with_objects([service], [claim, stray])
    assert [line for each in found for line in verdict_lines(each)] == [
        "user-service: failed, PersistentVolumeClaim exports: it is pending",
        "CronJob nightly: failed, its last Job failed",
    ]
    assert with_objects([service], []) == [service]
