"""What is wrong with a pod, its probes included, or with the creation of pods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from slipway.cluster.diagnosis import advice, containers
from slipway.cluster.diagnosis.model import Cause, Evidence, Finding, container_spec
from slipway.cluster.diagnosis.objects import (
    Object,
    condition,
    event_time,
    first_event_time,
    name_of,
    number_at,
    object_at,
    objects_at,
    text_at,
    time_at,
)

# The exit codes of a run that was asked to end: in order, or by the signal itself.
_STOPPED = (0, 137, 143)
_EPOCH = datetime.fromtimestamp(0, UTC)
_UNHEALTHY = re.compile(r"^(Readiness|Liveness|Startup) probe (?:failed|errored.*?): ?(.*)", re.DOTALL)
_KILLING = re.compile(r"^Container \S+ failed (liveness|startup) probe")
# The kubelet kills after the grace period; the runtime may report that a moment later.
_KILL_MARGIN = timedelta(seconds=10)
# Events and statuses give whole seconds.
_CLOCK_MARGIN = timedelta(seconds=2)


def last_answer(events: Iterable[Object], container: str, probe: str) -> str:
    """The newest answer that the `probe` (`Readiness`, `Liveness`, `Startup`) of a container got; empty for none."""
    newest, answer = _EPOCH, ""
    for event in events:
        match = _UNHEALTHY.match(text_at(event, "message"))
        if match and match[1] == probe and _is_about(event, container) and (event_time(event) or _EPOCH) >= newest:
            newest, answer = event_time(event) or _EPOCH, match[2].strip()
    return answer


def killed_by(events: Iterable[Object], pod: Object, container: str, ended: Object) -> str:
    """`Liveness` or `Startup` if the kubelet ended that run of a container because of its probe; else empty.

    If a probe has killed before, the exit code of a run that was asked to end is enough: the kubelet stops reporting
    each kill. One event stands for all kills of a probe, so the run may have ended long before the last.
    """
    finished = time_at(ended, "finishedAt")
    was_stopped = ended.get("exitCode") in _STOPPED and ended.get("reason") != "OOMKilled"
    grace = timedelta(seconds=number_at(pod, "spec", "terminationGracePeriodSeconds", default=30))
    for event in events:
        match, first, last = _KILLING.match(text_at(event, "message")), first_event_time(event), event_time(event)
        if not match or not _is_about(event, container):
            continue
        if was_stopped:
            return match[1].capitalize()
        if finished and first and last and first - _CLOCK_MARGIN <= finished <= last + grace + _KILL_MARGIN:
            return match[1].capitalize()
    return ""


def question(pod: Object, container: str, probe: str) -> str:
    """What a probe asks: `GET /readyz on port http`."""
    definition = object_at(container_spec(pod, container), f"{probe.lower()}Probe")
    if "httpGet" in definition:
        return f"GET {text_at(definition, 'httpGet', 'path') or '/'} on port {text_at(definition, 'httpGet', 'port')}"
    if "exec" in definition:
        return f"the command {' '.join(map(str, object_at(definition, 'exec').get('command') or ()))}"
    kind = "grpc" if "grpc" in definition else "tcpSocket"
    return f"a connection to port {text_at(definition, kind, 'port')}"


def _is_about(event: Object, container: str) -> bool:
    path = text_at(event, "involvedObject", "fieldPath")
    return not path or f"{{{container}}}" in path


_INSUFFICIENT = re.compile(r"Insufficient |Too many pods")
# A claim without a volume: it is not provisioned, or not yet.
_UNBOUND = re.compile(r"unbound immediate PersistentVolumeClaims|PersistentVolumeClaim is not bound")
_PREEMPTION = re.compile(r"\.?\s*(?:no new claims to deallocate, )?preemption: .*", re.DOTALL)
_MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")
_RUNNING = (Cause.READINESS, Cause.LIVENESS, Cause.STARTUP)
# The kubelet's reason if a pod used more than it may, or its node has no more room for it.
_EVICTED = "Evicted"
# The reason of a pod that ran longer than its `activeDeadlineSeconds`.
_DEADLINE = "DeadlineExceeded"
# https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-events-are-emitted-by-ca
_SCALING_UP = "TriggeredScaleUp"


def findings(evidence: Evidence) -> list[Finding]:
    """What is wrong with the creation of pods, then with each pod of the newest template."""
    if evidence.is_paused:
        return [_paused(evidence.deployment)]
    pods = evidence.current_pods()
    refused = list(_refused(evidence))
    waiting = [pod for pod in pods if not is_ready(pod)]
    # A service without a readiness probe is ready between two crashes.
    return refused + [of_pod(pod, evidence.events_of(pod)) for pod in waiting or list(filter(_has_ended, pods))]


def of_pod(pod: Object, events: Sequence[Object]) -> Finding:
    """What keeps one pod from being ready; `STARTING` if that is not known."""
    reason = text_at(pod, "status", "reason")
    if reason == _DEADLINE:
        container = text_at(next(iter(objects_at(pod, "spec", "containers")), {}), "name")
        return Finding(Cause.DEADLINE, name_of(pod), container, reason, text_at(pod, "status", "message"), None, 1)
    if text_at(pod, "status", "phase") == "Failed" and (reason or not _has_failed(pod)):
        # A node that shuts down or is full evicts pods that did nothing wrong: others are created elsewhere.
        reason = reason or "Failed"
        message, by_node = text_at(pod, "status", "message").strip(), reason != _EVICTED
        return Finding(Cause.EVICTED, name_of(pod), "", reason, message, None, 1, may_mend=by_node)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _unscheduled(pod, scheduled, events)
    found = [containers.finding(pod, status, events) for status in _unready_statuses(pod)]
    known = [each for each in found if each is not None]
    clear = [each for each in known if each.cause is not Cause.STARTING]
    starting = Finding(Cause.STARTING, name_of(pod), "", text_at(pod, "status", "phase") or "Pending")
    # A container that cannot run says more than a running one that is not ready, which may wait for it.
    clear.sort(key=lambda each: each.cause in _RUNNING)
    return next(iter(clear), None) or _unmounted(pod, events) or next(iter(known), starting)


def _has_failed(pod: Object) -> bool:
    """Whether the pod belongs to a Job, and a container of it has ended with an error, for good."""
    statuses = [*objects_at(pod, "status", "containerStatuses"), *objects_at(pod, "status", "initContainerStatuses")]
    codes = [number_at(status, "state", "terminated", "exitCode") for status in statuses]
    return text_at(pod, "spec", "restartPolicy") == "Never" and any(codes)


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def _has_ended(pod: Object) -> bool:
    return any(number_at(status, "restartCount") for status in _kept_running(pod))


def _kept_running(pod: Object) -> list[Object]:
    """Statuses of the sidecars and of the main containers."""
    always = [each for each in objects_at(pod, "spec", "initContainers") if each.get("restartPolicy") == "Always"]
    sidecars = {text_at(each, "name") for each in always}
    of_init = [each for each in objects_at(pod, "status", "initContainerStatuses") if text_at(each, "name") in sidecars]
    return [*of_init, *objects_at(pod, "status", "containerStatuses")]


def _unready_statuses(pod: Object) -> Iterator[Object]:
    """Init containers first: while one fails, nothing else runs. An init container that has succeeded is done."""
    for status in objects_at(pod, "status", "initContainerStatuses"):
        if not status.get("ready") and text_at(status, "state", "terminated", "exitCode") != "0":
            yield status
    all_ready = is_ready(pod)
    for status in objects_at(pod, "status", "containerStatuses"):
        if not status.get("ready"):
            yield status
    if all_ready:
        yield from (
            status for status in _kept_running(pod) if status.get("ready") and number_at(status, "restartCount")
        )


def _paused(deployment: Object) -> Finding:
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pausing-and-resuming-a-deployment"""
    entries = objects_at(deployment, "metadata", "managedFields")
    by = next((each for each in entries if "f:paused" in object_at(each, "fieldsV1", "f:spec")), {})
    who = f"`spec.paused` was set by {text_at(by, 'manager')} at {text_at(by, 'time')}" if by else ""
    return Finding(Cause.PAUSED, "", "", "Paused", who)


def _refused(evidence: Evidence) -> Iterator[Finding]:
    """Why the API server refused to create pods, or the ReplicaSet itself."""
    newest = evidence.current_set()
    failure = condition(newest, "ReplicaFailure") if newest else condition(evidence.deployment, "ReplicaFailure")
    progressing = condition(evidence.deployment, "Progressing")
    if failure.get("status") == "True":
        message = advice.unwrapped(text_at(failure, "message"))
        yield Finding(advice.refusal_cause(message), "", "", text_at(failure, "reason"), message)
    elif not newest and progressing.get("reason") == "ReplicaSetCreateError":
        message = advice.unwrapped(text_at(progressing, "message"))
        yield Finding(advice.refusal_cause(message), "", "", "ReplicaSetCreateError", message)


def _unscheduled(pod: Object, scheduled: Object, events: Sequence[Object]) -> Finding:
    message = _PREEMPTION.sub("", text_at(scheduled, "message")).strip().rstrip(".")
    if advice.is_missing_object(message):
        cause = Cause.MISSING_OBJECT
    elif _UNBOUND.search(message):
        cause = Cause.VOLUME
    else:
        cause = Cause.RESOURCES if _INSUFFICIENT.search(message) else Cause.PLACEMENT
    helped = text_at(pod, "status", "nominatedNodeName") or any(event.get("reason") == _SCALING_UP for event in events)
    state = text_at(scheduled, "reason") or "Unschedulable"
    return Finding(cause, name_of(pod), "", f"Pending, {state}", message, may_mend=bool(helped))


def _unmounted(pod: Object, events: Sequence[Object]) -> Finding | None:
    messages = [text_at(event, "message") for event in events if event.get("reason") in _MOUNT_EVENTS]
    if not messages:
        return None
    cause = Cause.MISSING_OBJECT if advice.is_missing_object(messages[-1]) else Cause.VOLUME
    return Finding(cause, name_of(pod), "", "ContainerCreating", messages[-1].strip())
