"""Readiness of the kinds that run pods: Deployment, StatefulSet, DaemonSet, ReplicationController and Job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.plugins.kubernetes.awaiting import pods
from lab.plugins.kubernetes.awaiting.readiness import (
    DONE,
    Readiness,
    Sight,
    condition,
    failed,
    is_condition_true,
    is_observed,
    is_owned_by,
    reason_of,
    waiting,
)
from lab.plugins.kubernetes.naming import qualified_name
from lab.plugins.kubernetes.values import Object, int_at, text_at

POD_ROLE = "pods"
REPLICA_SET_ROLE = "replicasets"
_REVISION = "deployment.kubernetes.io/revision"
# A quota or an admission webhook that refuses pods may be changed by another resource of the same update.
_REFUSED_PODS_SECONDS = 15.0


def deployment(sight: Sight) -> Readiness:
    """Ready when the new ReplicaSet is available in full and no pod of an old one is left."""
    live = sight.live
    if not is_observed(live):
        return waiting(
            "Waiting for the Deployment controller to see the change", "the controller has not seen the change"
        )
    wanted = int_at(live, "spec", "replicas", default=1)
    updated, total = int_at(live, "status", "updatedReplicas"), int_at(live, "status", "replicas")
    available = int_at(live, "status", "availableReplicas")
    if wanted == updated == total == available or live.get("spec", {}).get("paused"):
        return DONE
    current = _current_pods(sight)
    if lost := _lost(sight, current):
        return failed(f"Deployment {qualified_name(live)!r} cannot become ready", *lost)
    told = pods.problems(current)
    progress = f"Waiting for app ReplicaSet to be available ({min(updated, available)}/{wanted} Pods available)"
    if updated == wanted == available:
        progress = f"Waiting for {total - updated} Pods of the previous ReplicaSet to be gone"
    return waiting(pods.alarm(current) or progress, *_deployment_reasons(live), *told)


def _lost(sight: Sight, current: Sequence[Object]) -> list[str]:
    """Why a rollout will not end well, or nothing."""
    live = sight.live
    told = pods.problems(current)
    progressing = condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded" and not _is_of_an_old_set(progressing, sight):
        return [reason_of(progressing), *told]
    refused = condition(live, "ReplicaFailure")
    if refused.get("status") == "True" and sight.age("ReplicaFailure") >= _REFUSED_PODS_SECONDS:
        return [reason_of(refused), *told]
    if pods.first_hopeless(current, sight.age):
        return [*_deployment_reasons(live), *told]
    return []


def _is_of_an_old_set(progressing: Object, sight: Sight) -> bool:
    """The condition outlives the rollout that it is about: going back to an older ReplicaSet does not renew it."""
    named = re.match(r'ReplicaSet "([^"]+)"', text_at(progressing, "message"))
    return named is not None and named[1] not in {text_at(item, "metadata", "name") for item in _current_sets(sight)}


def _deployment_reasons(live: Object) -> list[str]:
    refused, available = condition(live, "ReplicaFailure"), condition(live, "Available")
    reasons = [reason_of(refused)] if refused.get("status") == "True" else []
    if available.get("status") == "False":
        reasons.append(reason_of(available))
    elif int_at(live, "status", "updatedReplicas") or int_at(live, "status", "replicas"):
        reasons.append("Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not become live")
    return reasons


def _current_sets(sight: Sight) -> list[Object]:
    """The ReplicaSet with the Deployment's own revision; none while it was not seen yet."""
    revision = text_at(sight.live, "metadata", "annotations", _REVISION)
    sets = [item for item in sight.of(REPLICA_SET_ROLE) if is_owned_by(item, sight.live)]
    return [item for item in sets if text_at(item, "metadata", "annotations", _REVISION) == revision]


def _current_pods(sight: Sight) -> list[Object]:
    current = _current_sets(sight)
    return [pod for pod in sight.of(POD_ROLE) if any(is_owned_by(pod, item) for item in current) and _is_alive(pod)]


def _own_pods(sight: Sight) -> list[Object]:
    return [pod for pod in sight.of(POD_ROLE) if is_owned_by(pod, sight.live) and _is_alive(pod)]


def _is_alive(pod: Object) -> bool:
    return not text_at(pod, "metadata", "deletionTimestamp")


def stateful_set(sight: Sight) -> Readiness:
    """Ready when all replicas are, at the update revision; pods below a partition, or under OnDelete, may stay old."""
    live = sight.live
    if not is_observed(live):
        return waiting(
            "Waiting for the StatefulSet controller to see the change", "the controller has not seen the change"
        )
    wanted = int_at(live, "spec", "replicas", default=1)
    ready, total = int_at(live, "status", "readyReplicas"), int_at(live, "status", "replicas")
    updated = int_at(live, "status", "updatedReplicas")
    if ready == total == wanted and _revision_reached(live, wanted, updated):
        return DONE
    return _controller_waits(
        sight,
        f"Waiting for StatefulSet to create Pods ({min(ready, updated or ready)}/{wanted} Pods ready)",
        f"{ready} out of {wanted} replicas succeeded readiness checks",
    )


def _revision_reached(live: Object, wanted: int, updated: int) -> bool:
    strategy = text_at(live, "spec", "updateStrategy", "type")
    if strategy == "OnDelete" and int_at(live, "metadata", "generation") > 1:
        return True
    if partition := int_at(live, "spec", "updateStrategy", "rollingUpdate", "partition"):
        return updated >= wanted - partition
    current = text_at(live, "status", "currentRevision")
    return wanted == 0 or (bool(current) and current == text_at(live, "status", "updateRevision"))


def daemon_set(sight: Sight) -> Readiness:
    """Ready when every node that should run a pod runs an up-to-date, available one."""
    live = sight.live
    if not is_observed(live):
        return waiting(
            "Waiting for the DaemonSet controller to see the change", "the controller has not seen the change"
        )
    wanted = int_at(live, "status", "desiredNumberScheduled")
    updated = int_at(live, "status", "updatedNumberScheduled")
    available = int_at(live, "status", "numberAvailable")
    if updated == wanted == available and int_at(live, "status", "numberReady") == wanted:
        return DONE
    progress = f"Waiting for DaemonSet Pods ({available}/{wanted} available, {updated}/{wanted} up to date)"
    return _controller_waits(sight, progress, f"{available} out of {wanted} Pods are available")


def replication_controller(sight: Sight) -> Readiness:
    """Ready when all replicas are available."""
    live = sight.live
    wanted = int_at(live, "spec", "replicas", default=1)
    available = int_at(live, "status", "availableReplicas")
    if is_observed(live) and available == wanted:
        return DONE
    progress = f"Waiting for replicas ({available}/{wanted} available)"
    return _controller_waits(sight, progress, f"{available} out of {wanted} replicas are available")


def _controller_waits(sight: Sight, progress: str, reason: str) -> Readiness:
    own = _own_pods(sight)
    told = pods.problems(own)
    if pods.first_hopeless(own, sight.age):
        return failed(f"{sight.live.get('kind')} {qualified_name(sight.live)!r} cannot become ready", reason, *told)
    return waiting(pods.alarm(own) or progress, reason, *told)


def job(sight: Sight) -> Readiness:
    """Done when complete, failed when it gave up; a suspended job has nothing to wait for."""
    live, name = sight.live, qualified_name(sight.live)
    if is_condition_true(live, "Complete") or live.get("spec", {}).get("suspend"):
        return DONE
    own = _own_pods(sight)
    told = pods.problems(own)
    for kind in ("Failed", "FailureTarget"):
        if is_condition_true(live, kind):
            return failed(f"Job {name!r} failed", reason_of(condition(live, kind)), *told)
    if lost := pods.first_hopeless(own, sight.age):
        return failed(f"Job {name!r} cannot succeed", lost)
    if not text_at(live, "status", "startTime"):
        return waiting(f"Waiting for Job {name!r} to start", "the Job was not started")
    counts = " | ".join(
        f"{title}: {int_at(live, 'status', title.lower())}" for title in ("Active", "Succeeded", "Failed")
    )
    return waiting(f"Waiting for Job {name!r} to succeed ({counts})", f"the Job did not complete ({counts})", *told)
