"""A watch gives up what cannot mend, soon, and never what the release before it has left."""

from __future__ import annotations

import copy
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from slipway.cluster import Cluster, ClusterError
from slipway.diagnosis import Cause, Evidence, Log
from slipway.engine.events import Failed, Resource, Started
from slipway.live import rollout_watch
from slipway.live.rollout_watch import DEPLOYMENT_TYPE, RolloutWatch

RECORDED = Path(__file__).parent / "diagnosis" / "recorded"


@dataclass
class RecordedCluster:
    """Answers as a cluster did in which one Deployment failed; `age` is that of its ReplicaSet and its pods."""

    name: str
    age: timedelta = timedelta(0)
    error: ClusterError | None = None
    asked: int = 0
    content: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.content = json.loads((RECORDED / f"{self.name}.json").read_text())
        created = (datetime.now(UTC) - self.age).isoformat()
        for item in [*self.content["pods"], *self.content["replicaSets"]]:
            item["metadata"]["creationTimestamp"] = created

    def now(self) -> datetime:
        return datetime.now(UTC)

    def rollouts(self, namespace: str) -> dict[str, Evidence]:
        assert namespace == "diagnosis-capture"
        self.asked += 1
        if self.error:
            raise self.error
        content = copy.deepcopy(self.content)
        return {self.name: Evidence(content["deployment"], content["replicaSets"], content["pods"])}

    def events(self, _namespace: str) -> list[Any]:
        return list(self.content["events"])

    def with_logs(self, evidence: Evidence, _finding: Any) -> Evidence:
        logs = [Log(**log) for log in self.content["logs"]]
        return Evidence(evidence.deployment, evidence.replica_sets, evidence.pods, evidence.events, logs)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_watch, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(rollout_watch, "HEAD_START_SECONDS", 0.0)


def event(kind: Any, name: str, operation: str = "update") -> Any:
    resource = Resource(f"urn:pulumi:dev::slipway::slipway:index:Microservice${DEPLOYMENT_TYPE}::{name}")
    made = kind(0.0, resource, operation, True)
    if kind is Started:
        inputs = {"metadata": {"name": name, "namespace": "diagnosis-capture"}}
        return Started(0.0, resource, operation, True, inputs=inputs)
    return made


def watch(cluster: RecordedCluster, seconds: float, *, operation: str = "update") -> tuple[RolloutWatch, bool]:
    """Watch its one rollout for some seconds; the watch, and whether it has asked to cancel."""
    made, cancelled = RolloutWatch(lambda: cast(Cluster, cluster)), threading.Event()
    with made.cancelling(cancelled.set):
        made.see(event(Started, cluster.name, operation))
        cancelled.wait(seconds)
    return made, cancelled.is_set()


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("entrypoint", Cause.ENTRYPOINT),
        ("image-invalid", Cause.IMAGE_INVALID),
        ("image-not-found", Cause.IMAGE_NOT_FOUND),
        ("oom", Cause.OUT_OF_MEMORY),
        ("segfault", Cause.CRASH),
        ("read-only", Cause.READ_ONLY),
        ("missing-key", Cause.MISSING_OBJECT),
        ("refused", Cause.ADMISSION),
    ],
)
def test_what_cannot_mend_is_given_up(name: str, cause: Cause) -> None:
    made, cancelled = watch(RecordedCluster(name), 8)
    assert cancelled, made.problem
    assert [diagnosis.cause for diagnosis in made.diagnoses] == [cause]


@pytest.mark.parametrize("name", ["readiness", "startup", "starting", "liveness", "unschedulable-cpu"])
def test_what_may_mend_is_waited_for(name: str) -> None:
    made, cancelled = watch(RecordedCluster(name), 0.5)
    assert not cancelled
    assert not made.diagnoses
    assert not made.problem


@pytest.mark.parametrize("name", ["read-only", "permission"])
def test_a_log_may_end_the_wait_at_the_second_crash(name: str) -> None:
    cluster = RecordedCluster(name)
    for status in cluster.content["pods"][0]["status"]["containerStatuses"]:
        status["restartCount"] = 1
    _, cancelled = watch(cluster, 5)
    assert cancelled


def test_a_second_crash_that_may_have_any_reason_is_waited_for() -> None:
    cluster = RecordedCluster("segfault")
    for status in cluster.content["pods"][0]["status"]["containerStatuses"]:
        status["restartCount"] = 1
    _, cancelled = watch(cluster, 0.5)
    assert not cancelled


def test_patience_is_kept() -> None:
    began = time.monotonic()
    _, cancelled = watch(RecordedCluster("image-not-found"), 8)
    assert cancelled
    assert time.monotonic() - began >= 3.0


def test_the_release_before_is_not_judged_until_the_change_must_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that mends a broken one begins with the broken one's pods."""
    broken = RecordedCluster("entrypoint", age=timedelta(minutes=5))
    _, cancelled = watch(broken, 0.5)
    assert not cancelled
    monkeypatch.setattr(rollout_watch, "SETTLED_SECONDS", 0.2)
    _, cancelled = watch(broken, 5)
    assert cancelled


def test_a_ready_pod_that_once_crashed_does_not_end_a_rollout_that_only_adds_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its template stays, and so does the pod, with all that it has been through."""
    cluster = RecordedCluster("segfault", age=timedelta(days=5))
    (pod,) = cluster.content["pods"]
    pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": True, "restartCount": 4, "state": {"running": {}}}
    monkeypatch.setattr(rollout_watch, "SETTLED_SECONDS", 0.0)
    made, cancelled = watch(cluster, 0.5)
    assert not cancelled, made.diagnoses


def test_a_rollout_that_has_ended_is_watched_no_longer() -> None:
    cluster = RecordedCluster("entrypoint")
    made, cancelled = RolloutWatch(lambda: cast(Cluster, cluster)), threading.Event()
    with made.cancelling(cancelled.set):
        made.see(event(Started, cluster.name))
        made.see(event(Failed, cluster.name))
        cancelled.wait(0.5)
    assert not cancelled.is_set()


@pytest.mark.parametrize("operation", ["same", "delete", "delete-replaced", "refresh"])
def test_nothing_is_asked_where_nothing_is_rolled_out(operation: str) -> None:
    cluster = RecordedCluster("entrypoint")
    _, cancelled = watch(cluster, 0.2, operation=operation)
    assert not cancelled
    assert cluster.asked == 0


def test_a_cluster_that_does_not_answer_does_not_disturb_the_update() -> None:
    cluster = RecordedCluster("entrypoint", error=ClusterError("the cluster does not answer: connection refused"))
    made, cancelled = watch(cluster, 0.5)
    assert not cancelled
    assert made.problem == "the cluster does not answer: connection refused"
    assert cluster.asked == rollout_watch.ERRORS_BORNE


def test_a_watch_that_breaks_says_so_and_no_more() -> None:
    def connect() -> Cluster:
        raise ClusterError("there is no usable kubeconfig")

    made, cancelled = RolloutWatch(connect), threading.Event()
    with made.cancelling(cancelled.set):
        made.see(event(Started, "user-service"))
        cancelled.wait(0.2)
    assert not cancelled.is_set()
    assert "there is no usable kubeconfig" in made.problem


def test_a_rollout_that_is_done_soon_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_watch, "HEAD_START_SECONDS", 5.0)
    cluster = RecordedCluster("entrypoint")
    began = time.monotonic()
    watch(cluster, 0.1)
    assert cluster.asked == 0
    assert time.monotonic() - began < 2
