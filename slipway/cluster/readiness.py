"""Whether objects other than Deployments are ready: one pure function per kind, and a function that reads all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from slipway.cluster.client import Cluster
from slipway.cluster.deployed import ApiResource, key_of, kind_of
from slipway.cluster.diagnosis.model import (
    FAILED,
    Object,
    condition,
    has_failed,
    is_done,
    last_ended,
    name_of,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from slipway.cluster.drift import to_read
from slipway.state.checkpoint import ResourceState

JOB = ApiResource("batch/v1", "Job")
# Conditions of a custom resource that say whether it works.
# https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
POSITIVE_CONDITIONS = ("Ready", "Available", "Established")
NEGATIVE_CONDITIONS = ("Stalled", "Failed")
# Groups of Kubernetes itself: without a dot, or below k8s.io. A kind of any other group is a custom resource.
BUILT_IN_SUFFIX = ".k8s.io"


@dataclass(frozen=True)
class UnreadyObject:
    """An object that is not ready, and why; `service` is empty if it has none."""

    kind: str
    name: str
    namespace: str
    service: str
    problem: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def _generation_seen(item: Object) -> str:
    seen = object_at(item, "status").get("observedGeneration")
    generation = number_at(item, "metadata", "generation")
    if isinstance(seen, int) and seen < generation:
        return f"its controller has not seen its last change yet (generation {generation}, seen {seen})"
    return ""


def _claim(item: Object, _jobs: Sequence[Object]) -> str:
    phase = text_at(item, "status", "phase")
    return "" if phase == "Bound" else f"it is {phase.lower() or 'not bound yet'}, not bound to a volume"


def _stateful_set(item: Object, _jobs: Sequence[Object]) -> str:
    desired = number_at(item, "spec", "replicas", default=1)
    ready, updated = (number_at(item, "status", key) for key in ("readyReplicas", "updatedReplicas"))
    revisions = {text_at(item, "status", key) for key in ("currentRevision", "updateRevision")}
    strategy = text_at(item, "spec", "updateStrategy", "type")
    if ready >= desired and (strategy == "OnDelete" or updated >= desired or len(revisions) == 1):
        return _generation_seen(item)
    return _generation_seen(item) or f"{ready} of {desired} pods ready, {updated} updated"


def _daemon_set(item: Object, _jobs: Sequence[Object]) -> str:
    desired = number_at(item, "status", "desiredNumberScheduled")
    available, updated = (number_at(item, "status", key) for key in ("numberAvailable", "updatedNumberScheduled"))
    if available >= desired and updated >= desired:
        return _generation_seen(item)
    return _generation_seen(item) or f"{available} of {desired} pods available, {updated} updated"


def _job(item: Object, _jobs: Sequence[Object]) -> str:
    if failed := _failure(item):
        return f"it failed: {failed}"
    if object_at(item, "spec").get("suspend"):
        return ""
    if not is_done(item):
        return f"it is not complete: {number_at(item, 'status', 'active')} pods active"
    return ""


def _failure(job: Object) -> str:
    if not has_failed(job):
        return ""
    failed = condition(job, FAILED)
    return ", ".join(filter(None, (text_at(failed, "reason"), text_at(failed, "message")))) or "no reason given"


def _cron_job(item: Object, jobs: Sequence[Object]) -> str:
    """Only its last Job counts: a failure before it no longer matters."""
    last = last_ended(jobs, item)
    failed = _failure(last)
    return f"its last Job {name_of(last)} failed: {failed}" if failed else ""


def _pod(item: Object, _jobs: Sequence[Object]) -> str:
    phase = text_at(item, "status", "phase")
    if phase == "Succeeded" or condition(item, "Ready").get("status") == "True":
        return ""
    return f"it is {phase.lower() or 'not scheduled yet'}, and not ready"


def _by_conditions(item: Object, _jobs: Sequence[Object]) -> str:
    """An object without conditions counts as ready: many kinds have none."""
    if unseen := _generation_seen(item):
        return unseen
    for each in objects_at(item, "status", "conditions"):
        kind, status = text_at(each, "type"), text_at(each, "status")
        wrong = (kind in POSITIVE_CONDITIONS and status != "True") or (kind in NEGATIVE_CONDITIONS and status == "True")
        if wrong:
            why = ", ".join(filter(None, (text_at(each, "reason"), text_at(each, "message"))))
            return f"its condition {kind} is {status}" + (f": {why}" if why else "")
    return ""


_KINDS: Mapping[ApiResource, Callable[[Object, Sequence[Object]], str]] = {
    ApiResource("v1", "PersistentVolumeClaim"): _claim,
    ApiResource("v1", "Pod"): _pod,
    ApiResource("apps/v1", "StatefulSet"): _stateful_set,
    ApiResource("apps/v1", "DaemonSet"): _daemon_set,
    JOB: _job,
    ApiResource("batch/v1", "CronJob"): _cron_job,
    ApiResource("apiextensions.k8s.io/v1", "CustomResourceDefinition"): _by_conditions,
    ApiResource("apiregistration.k8s.io/v1", "APIService"): _by_conditions,
}


def problem(kind: ApiResource, item: Object, jobs: Sequence[Object] = ()) -> str:
    """Why the object is not ready; empty if it is, or if its kind cannot say. `jobs` are those of its namespace."""
    of_kind = _KINDS.get(kind, _by_conditions if _is_custom(kind) else None)
    return of_kind(item, jobs) if of_kind else ""


def _is_custom(kind: ApiResource) -> bool:
    group = kind.api_version.rpartition("/")[0]
    return "." in group and not group.endswith(BUILT_IN_SUFFIX)


def unready_objects(recorded: Iterable[ResourceState], cluster: Cluster) -> list[UnreadyObject]:
    """The recorded objects that are not ready, or gone, in order; ClusterError if there is no answer.

    Without Deployments: their rollouts are checked with their pods.
    """
    asked = [(each, kind) for each in recorded if (kind := kind_of(each)) in _KINDS or _is_custom(kind)]
    if not asked:
        return []
    live = to_read([each for each, _ in asked], cluster, frozenset({JOB}))
    found = []
    for each, kind in asked:
        key = key_of(each, live)
        item = live.objects.get(key)
        jobs = [job for other, job in live.objects.items() if other.kind == JOB and other.namespace == key.namespace]
        why = "it is gone from the cluster" if item is None else problem(kind, item, jobs)
        if why:
            found.append(UnreadyObject(kind.name, key.name, key.namespace, each.service, why))
    return sorted(found, key=lambda each: (each.service, each.kind, each.name))
