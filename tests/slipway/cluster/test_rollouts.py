"""The wait for a rollout ends early for what waiting cannot fix, and never for what the release before has left."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from slipway.cluster import rollouts
from slipway.cluster.client import Cluster, ClusterError, ForbiddenError
from slipway.cluster.diagnosis import Evidence, Log
from slipway.cluster.rollouts import DEADLINE_EXCEEDED, Rollout, RolloutError, Rollouts
from slipway.engine.messages import DIAGNOSIS

NAMESPACE = "diagnosis-capture"
RECORDED = Path(__file__).parent / "diagnosis" / "recorded"


class Clock:
    """The time as the wait sees it, which passes at once where a test sleeps."""

    def __init__(self) -> None:
        self.slept_seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.slept_seconds

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.slept_seconds)

    def sleep(self, seconds: float) -> None:
        self.slept_seconds += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "time", CLOCK)


@dataclass
class RecordedCluster:
    """Answers as a cluster did in which one Deployment failed; `age` is that of its ReplicaSet and its pods."""

    name: str
    age: timedelta = timedelta(0)
    error: ClusterError | None = None
    reads: int = 0
    answer: Any = None
    content: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.content = json.loads((RECORDED / f"{self.name}.json").read_text())
        created = (CLOCK.now() - self.age).isoformat()
        for item in [*self.content["pods"], *self.content["replicaSets"]]:
            item["metadata"]["creationTimestamp"] = created

    def now(self) -> datetime:
        return CLOCK.now()

    def rollouts(self, namespace: str, names: set[str]) -> dict[str, Evidence]:
        assert (namespace, names) == (NAMESPACE, {self.name})
        self.reads += 1
        if self.error:
            raise self.error
        content = copy.deepcopy(self.content)
        return {self.name: Evidence(content["deployment"], content["replicaSets"], content["pods"])}

    def events(self, _namespace: str) -> list[Any]:
        return list(self.content["events"])

    def with_logs(self, evidence: Evidence, _finding: Any) -> Evidence:
        logs = [Log(**log) for log in self.content["logs"]]
        return Evidence(evidence.deployment, evidence.replica_sets, evidence.pods, evidence.events, logs)


@dataclass
class Wait:
    """The wait for one rollout: what ended it, or nothing."""

    error: str = ""
    complete: bool = False
    seconds: float = 0.0


def begun(cluster: RecordedCluster, generation: int = 0) -> tuple[Rollouts, Rollout]:
    """An update that begins now, and the one rollout that it waits for."""
    now = CLOCK.monotonic()
    live = Rollouts(lambda: cast(Cluster, cluster), now, lambda *_: cluster.answer, _answered_seconds=now)
    return live, Rollout(NAMESPACE, cluster.name, generation, now)


def wait(cluster: RecordedCluster, seconds: float, generation: int = 0) -> Wait:
    """Ask until the rollout is complete or has failed, for some seconds at most."""
    began = CLOCK.monotonic()
    live, rollout = begun(cluster, generation)
    while CLOCK.monotonic() - began < seconds:
        try:
            if live.complete([rollout]):
                return Wait(complete=True, seconds=CLOCK.monotonic() - began)
        except RolloutError as error:
            return Wait(str(error), seconds=CLOCK.monotonic() - began)
        CLOCK.sleep(0.02)
    return Wait(seconds=seconds)


def rolled_out(name: str = "starting") -> RecordedCluster:
    """A Deployment whose pods are all there and ready."""
    cluster = RecordedCluster(name)
    generation = cluster.content["deployment"]["metadata"]["generation"]
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
    cluster.content["deployment"]["spec"]["replicas"] = 1
    cluster.content["deployment"]["status"] |= {**counts, "observedGeneration": generation}
    return cluster


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("entrypoint", "cannot be started"),
        ("image-invalid", "has an invalid image name"),
        ("image-not-found", "has an image that its registry does not have"),
        ("oom", "at its memory limit"),
        ("segfault", "crashes"),
        ("read-only", "read-only file system"),
        ("missing-key", "needs the key"),
        ("refused", "gets no pods"),
    ],
)
def test_what_waiting_cannot_fix_is_given_up(name: str, headline: str) -> None:
    ended = wait(RecordedCluster(name), 8)
    assert ended.error.startswith(f"{DIAGNOSIS}{name} ")
    assert headline in ended.error


@pytest.mark.parametrize("name", ["readiness", "startup", "starting", "liveness", "unschedulable-cpu"])
def test_what_may_come_right_is_waited_for(name: str) -> None:
    assert wait(RecordedCluster(name), 0.5) == Wait(seconds=0.5)


def test_a_rollout_is_complete_once_its_controller_has_acted_on_this_generation() -> None:
    cluster = rolled_out()
    generation = cluster.content["deployment"]["metadata"]["generation"]
    assert wait(cluster, 2, generation).complete
    assert not wait(cluster, 0.3, generation + 1).complete, "what is read is older than what was applied"
    cluster.content["deployment"]["metadata"]["generation"] += 1
    assert not wait(cluster, 0.3, generation + 1).complete, "the controller has not seen it yet"


@pytest.mark.parametrize("name", ["read-only", "permission"])
def test_a_log_may_end_the_wait_at_the_second_crash(name: str) -> None:
    cluster = RecordedCluster(name)
    for status in cluster.content["pods"][0]["status"]["containerStatuses"]:
        status["restartCount"] = 1
    assert wait(cluster, 5).error


def test_a_second_crash_that_may_have_any_reason_is_waited_for() -> None:
    cluster = RecordedCluster("segfault")
    for status in cluster.content["pods"][0]["status"]["containerStatuses"]:
        status["restartCount"] = 1
    assert not wait(cluster, 0.5).error


def test_patience_is_kept() -> None:
    ended = wait(RecordedCluster("image-not-found"), 8)
    assert ended.error
    assert ended.seconds >= 3.0


def test_the_release_before_is_not_judged_until_the_change_must_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that fixes a broken one begins with the broken one's pods."""
    broken = RecordedCluster("entrypoint", age=timedelta(minutes=5))
    assert not wait(broken, 0.5).error
    monkeypatch.setattr(rollouts, "SETTLED_SECONDS", 0.2)
    assert wait(broken, 5).error


def test_a_ready_pod_that_once_crashed_does_not_end_a_rollout_that_only_adds_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its template stays, and so does the pod, with all that it has been through."""
    cluster = RecordedCluster("segfault", age=timedelta(days=5))
    (pod,) = cluster.content["pods"]
    pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": True, "restartCount": 4, "state": {"running": {}}}
    monkeypatch.setattr(rollouts, "SETTLED_SECONDS", 0.0)
    assert not wait(cluster, 0.5).error


def deadline_exceeded(replica_set: str, updated: datetime) -> dict[str, Any]:
    return {
        "type": "Progressing",
        "status": "False",
        "reason": DEADLINE_EXCEEDED,
        "message": f'ReplicaSet "{replica_set}" has timed out progressing.',
        "lastUpdateTime": updated.isoformat(),
    }


def newest_set(cluster: RecordedCluster) -> str:
    content = cluster.content
    evidence = Evidence(content["deployment"], content["replicaSets"], content["pods"])
    return str(evidence.current_set()["metadata"]["name"])


def test_the_progress_deadline_ends_the_wait() -> None:
    cluster = RecordedCluster("readiness")
    condition = deadline_exceeded(newest_set(cluster), CLOCK.now() + timedelta(seconds=1))
    cluster.content["deployment"]["status"]["conditions"] = [condition]
    assert "does not become ready" in wait(cluster, 2).error


def test_a_probe_is_asked_before_its_answer_is_named() -> None:
    """The kubelet's last event is of a time when nothing listened; the service answers 404 since."""
    cluster = RecordedCluster("startup")
    (pod,) = [each for each in cluster.content["pods"] if not each["metadata"].get("deletionTimestamp")][:1]
    container = pod["spec"]["containers"][0]["name"]
    for event in cluster.content["events"]:
        event["message"] = event["message"].replace("context deadline exceeded", "connection refused")
    cluster.answer = {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Startup probe failed: HTTP probe failed with statuscode: 404",
        "involvedObject": {"uid": pod["metadata"]["uid"], "fieldPath": f"spec.containers{{{container}}}"},
        "lastTimestamp": (CLOCK.now() + timedelta(minutes=1)).isoformat(),
    }
    condition = deadline_exceeded(newest_set(cluster), CLOCK.now() + timedelta(seconds=1))
    cluster.content["deployment"]["status"]["conditions"] = [condition]
    assert "does not pass its startup probe" in wait(cluster, 2).error
    assert "answers 404" in wait(cluster, 2).error


@pytest.mark.parametrize("about", ["another ReplicaSet", "this one, before the update"])
def test_a_deadline_that_an_earlier_release_exceeded_does_not_count(about: str) -> None:
    """The condition stays when a Deployment goes back to an older ReplicaSet."""
    cluster = RecordedCluster("readiness")
    own = deadline_exceeded(newest_set(cluster), CLOCK.now() - timedelta(minutes=1))
    other = deadline_exceeded("readiness-0000", CLOCK.now() + timedelta(seconds=1))
    cluster.content["deployment"]["status"]["conditions"] = [other if about == "another ReplicaSet" else own]
    assert not wait(cluster, 0.5).error
    cluster.content["deployment"]["spec"]["progressDeadlineSeconds"] = 0
    assert wait(cluster, 2).error, "the deadline counts anew from the update on"


def test_a_rollout_that_progresses_is_waited_for_beyond_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten replicas, one after the other, may take ten times as long as one."""
    monkeypatch.setattr(rollouts, "STALLED_MARGIN_SECONDS", 0.3)
    cluster = RecordedCluster("starting")
    deployment = cluster.content["deployment"]
    deployment["spec"] |= {"replicas": 10, "progressDeadlineSeconds": 0}
    live, rollout = begun(cluster)
    for updated in range(8):
        deployment["status"]["updatedReplicas"] = updated
        assert live.complete([rollout]) == set()
        CLOCK.sleep(0.1)
    CLOCK.sleep(0.4)
    with pytest.raises(RolloutError, match="starting is still starting"):
        live.complete([rollout])


def test_a_paused_deployment_is_reported_within_seconds_by_whom_and_how_it_is_resumed() -> None:
    cluster = RecordedCluster("starting", age=timedelta(days=1))
    cluster.content["deployment"]["spec"]["paused"] = True
    cluster.content["deployment"]["metadata"]["managedFields"] = [
        {"manager": "pulumi-kubernetes-1", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kubectl-rollout", "time": "2026-11-28T05:00:00Z", "fieldsV1": {"f:spec": {"f:paused": {}}}},
    ]
    ended = wait(cluster, 5)
    assert "starting is paused" in ended.error
    assert "`spec.paused` was set by kubectl-rollout at 2026-11-28T05:00:00Z" in ended.error
    assert "rollout resume deployment/starting" in ended.error


def test_a_paused_deployment_that_is_rolled_out_is_complete() -> None:
    cluster = rolled_out()
    cluster.content["deployment"]["spec"]["paused"] = True
    assert wait(cluster, 2).complete


def test_a_deployment_that_somebody_deletes_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "CACHE_SECONDS", 0.2)
    cluster = RecordedCluster("starting")
    monkeypatch.setattr(cluster, "rollouts", lambda _namespace, _names: {})
    assert "Deployment diagnosis-capture/starting was deleted" in wait(cluster, 2).error


def test_a_cluster_that_does_not_answer_for_long_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = RecordedCluster("entrypoint", error=ClusterError("the cluster does not answer: connection refused"))
    assert not wait(cluster, 0.5).error
    monkeypatch.setattr(rollouts, "UNANSWERED_SECONDS", 0.2)
    assert wait(cluster, 2).error == ("Waiting for rollouts failed: the cluster does not answer: connection refused")


def test_who_may_not_read_rollouts_learns_it_at_once() -> None:
    cluster = RecordedCluster("entrypoint", error=ForbiddenError("GET …/pods is not allowed: forbidden"))
    assert "is not allowed" in wait(cluster, 2).error
