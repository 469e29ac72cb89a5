"""What is wrong with a pod, its containers and probes included, or with the creation of pods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from slipway.cluster.diagnosis import advice
from slipway.cluster.diagnosis.model import Cause, Evidence, Finding
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

_PULLING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ErrImageNeverPull")
_INVALID = ("InvalidImageName", "ImageInspectError")
_HARMLESS = ("ContainerCreating", "PodInitializing", "")
# 126 and 127 are the shell's "cannot execute" and "not found"; 128 is containerd's code if a container never started.
_NEVER_STARTED = ("StartError", "ContainerCannotRun")
_SHELL_ENTRYPOINT = (126, 127)
_KILLED = 137
# Reasons of a run that ended together with its node or its container runtime: it did not end by itself.
_ENDED_WITH_NODE = ("Unknown", "ContainerStatusUnknown")
# After a run this long, the kubelet also restarts its count.
# https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
_LONG_RUN = timedelta(minutes=10)


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
    found = [of_container(pod, status, events) for status in _unready_statuses(pod)]
    known = [each for each in found if each is not None]
    clear = [each for each in known if each.cause is not Cause.STARTING]
    starting = Finding(Cause.STARTING, name_of(pod), "", text_at(pod, "status", "phase") or "Pending")
    # A container that cannot run says more than a running one that is not ready, which may wait for it.
    clear.sort(key=lambda each: each.cause in _RUNNING)
    return next(iter(clear), None) or _unmounted(pod, events) or next(iter(known), starting)


def of_container(pod: Object, status: Object, events: Sequence[Object]) -> Finding | None:
    """What keeps this container from being ready; `None` if that is not known."""
    waits = object_at(status, "state", "waiting")
    reason = text_at(waits, "reason")
    found = None
    if reason not in (*_HARMLESS, "CrashLoopBackOff"):
        found = _not_started(pod, status, waits, events)
    elif (ended := _last_end(status)) and text_at(ended, "reason") not in _ENDED_WITH_NODE:
        found = _ended(pod, status, ended, events)
    elif "running" in object_at(status, "state"):
        found = _not_ready(pod, status, events)
    return found


def _has_failed(pod: Object) -> bool:
    """Whether the pod belongs to a Job, and a container of it has ended with an error, for good."""
    statuses = [*objects_at(pod, "status", "containerStatuses"), *objects_at(pod, "status", "initContainerStatuses")]
    codes = [number_at(status, "state", "terminated", "exitCode") for status in statuses]
    return text_at(pod, "spec", "restartPolicy") == "Never" and any(codes)


def _kept_running(pod: Object) -> list[Object]:
    """Statuses of the sidecars and of the main containers."""
    always = [each for each in objects_at(pod, "spec", "initContainers") if each.get("restartPolicy") == "Always"]
    sidecars = {text_at(each, "name") for each in always}
    of_init = [each for each in objects_at(pod, "status", "initContainerStatuses") if text_at(each, "name") in sidecars]
    return [*of_init, *objects_at(pod, "status", "containerStatuses")]


def _has_ended(pod: Object) -> bool:
    return any(number_at(status, "restartCount") for status in _kept_running(pod))


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


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def _not_started(pod: Object, status: Object, waits: Object, events: Sequence[Object]) -> Finding:
    reason, message = text_at(waits, "reason"), text_at(waits, "message")
    if reason in _PULLING:
        message = _pull_message(message, events)
    elif advice.is_passing(message):
        message = _missing_message(events) or message
    text = advice.unwrapped(message) or reason
    ended = _last_end(status)
    code = number_at(ended, "exitCode") if ended else None
    return Finding(
        _cause_of_waiting(reason, message),
        name_of(pod),
        text_at(status, "name"),
        reason,
        text,
        code,
        ends_of(status),
        may_mend=advice.is_passing(message),
    )


def _cause_of_waiting(reason: str, message: str) -> Cause:
    if reason in _INVALID:
        return Cause.IMAGE_INVALID
    if reason == "ErrImageNeverPull":
        return Cause.IMAGE_NOT_FOUND
    if reason in _PULLING:
        return advice.pull_cause(message)
    if advice.is_missing_object(message):
        return Cause.MISSING_OBJECT
    return Cause.ENTRYPOINT if advice.is_entrypoint(message) else Cause.CONTAINER_CONFIG


def _pull_message(message: str, events: Sequence[Object]) -> str:
    """The message, or that of the event: older kubelets lose the registry's answer while they back off."""
    if advice.unwrapped(message):
        return message
    messages = [text_at(event, "message") for event in events if text_at(event, "message").startswith("Failed to pull")]
    return re.sub(r'^Failed to pull image "[^"]*": ', "", messages[-1]) if messages else message


def _missing_message(events: Sequence[Object]) -> str:
    """The event's message: a kubelet whose cache is late reports only that in the status, even if it knows more."""
    messages = [advice.unwrapped(text_at(event, "message")) for event in events]
    return next((message for message in messages if advice.is_missing_object(message)), "")


def _ended(pod: Object, status: Object, ended: Object, events: Sequence[Object]) -> Finding:
    code, name = number_at(ended, "exitCode"), text_at(status, "name")
    probe = killed_by(events, pod, name, ended)
    make = _finding_maker(pod, status, code)
    if probe:
        return make(Cause[probe.upper()], last_answer(events, name, probe))
    message = advice.unwrapped(text_at(ended, "message"))
    if text_at(ended, "reason") in _NEVER_STARTED:
        return make(Cause.ENTRYPOINT if advice.is_entrypoint(message) else Cause.CONTAINER_CONFIG, message)
    # Even if the runtime misses the kernel's report, a kill that no probe caused is the kernel's.
    if text_at(ended, "reason") == "OOMKilled" or (code == _KILLED and text_at(ended, "reason") == "Error"):
        return make(Cause.OUT_OF_MEMORY, message)
    if code in _SHELL_ENTRYPOINT:
        return make(Cause.ENTRYPOINT, message)
    return make(Cause.CRASH if code else Cause.ENDED, message)


def _not_ready(pod: Object, status: Object, events: Sequence[Object]) -> Finding:
    """Which probe a running container does not satisfy."""
    name = text_at(status, "name")
    make = _finding_maker(pod, status, None)
    for probe in ("Readiness", "Liveness") if status.get("started") else ("Startup",):
        if answer := last_answer(events, name, probe):
            return make(Cause[probe.upper()], answer)
    return make(Cause.STARTING, "")


def _finding_maker(pod: Object, status: Object, code: int | None) -> Callable[[Cause, str], Finding]:
    def make(cause: Cause, reason: str) -> Finding:
        return Finding(cause, name_of(pod), text_at(status, "name"), _state(status), reason, code, ends_of(status))

    return make


def _state(status: Object) -> str:
    """The one word that `kubectl get pods` shows."""
    state = object_at(status, "state")
    if "running" in state:
        return "Running, ready" if status.get("ready") else "Running, not ready"
    return text_at(state, "waiting", "reason") or text_at(state, "terminated", "reason") or "Waiting"


def ends_of(status: Object) -> int:
    """How often the container has ended since it last ran well or went down with its node, including the present run
    if it is over.
    """
    state, ended = object_at(status, "state"), _last_end(status)
    over = "terminated" in state or text_at(state, "waiting", "reason") in ("CrashLoopBackOff", "RunContainerError")
    if text_at(ended, "reason") in _ENDED_WITH_NODE:
        return 0
    began, finished = time_at(ended, "startedAt"), time_at(ended, "finishedAt")
    if began and finished and finished - began >= _LONG_RUN:
        return 1
    return number_at(status, "restartCount") + over


def _last_end(status: Object) -> Object:
    return object_at(status, "state", "terminated") or object_at(status, "lastState", "terminated")


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


def _is_about(event: Object, container: str) -> bool:
    path = text_at(event, "involvedObject", "fieldPath")
    return not path or f"{{{container}}}" in path
