"""What is wrong with a pod, its containers and probes included, or with the creation of pods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from slipway.cluster.diagnosis import advice
from slipway.cluster.diagnosis.model import (
    Cause,
    Evidence,
    Finding,
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
        # https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pausing-and-resuming-a-deployment
        entries = objects_at(evidence.deployment, "metadata", "managedFields")
        by = next((each for each in entries if "f:paused" in object_at(each, "fieldsV1", "f:spec")), {})
        who = f"`spec.paused` was set by {text_at(by, 'manager')} at {text_at(by, 'time')}" if by else ""
        return [Finding(Cause.PAUSED, "", "", "Paused", who)]
    pods = evidence.current_pods()
    refused = list(_refused(evidence))
    waiting = [pod for pod in pods if not is_ready(pod)]
    if not waiting:
        # A service without a readiness probe is ready between two crashes.
        waiting = [pod for pod in pods if any(number_at(each, "restartCount") for each in _kept_running(pod))]
    return refused + [of_pod(pod, evidence.events_of(pod)) for pod in waiting]


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
    # Init containers first: while one fails, nothing else runs. One that has succeeded is done.
    of_init = objects_at(pod, "status", "initContainerStatuses")
    unready = [each for each in of_init if text_at(each, "state", "terminated", "exitCode") != "0"]
    unready += objects_at(pod, "status", "containerStatuses")
    unready = [each for each in unready if not each.get("ready")]
    if is_ready(pod):
        unready += [each for each in _kept_running(pod) if each.get("ready") and number_at(each, "restartCount")]
    found = [of_container(pod, status, events) for status in unready]
    known = [each for each in found if each is not None]
    clear = [each for each in known if each.cause is not Cause.STARTING]
    # A container that cannot run says more than a running one that is not ready, which may wait for it.
    clear.sort(key=lambda each: each.cause in _RUNNING)
    if clear:
        return clear[0]
    messages = [text_at(event, "message") for event in events if event.get("reason") in _MOUNT_EVENTS]
    if messages:
        cause = Cause.MISSING_OBJECT if advice.is_missing_object(messages[-1]) else Cause.VOLUME
        return Finding(cause, name_of(pod), "", "ContainerCreating", messages[-1].strip())
    return next(iter(known), Finding(Cause.STARTING, name_of(pod), "", text_at(pod, "status", "phase") or "Pending"))


def of_container(pod: Object, status: Object, events: Sequence[Object]) -> Finding | None:
    """What keeps this container from being ready; `None` if that is not known."""
    reason, ended = text_at(status, "state", "waiting", "reason"), _last_end(status)
    if reason not in (*_HARMLESS, "CrashLoopBackOff"):
        return _not_started(pod, status, events)
    if ended and text_at(ended, "reason") not in _ENDED_WITH_NODE:
        return _ended(pod, status, ended, events)
    if "running" not in object_at(status, "state"):
        return None
    make = _finding_maker(pod, status, None)
    for probe in ("Readiness", "Liveness") if status.get("started") else ("Startup",):
        if answer := last_answer(events, text_at(status, "name"), probe):
            return make(Cause[probe.upper()], answer)
    return make(Cause.STARTING, "")


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


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


def _not_started(pod: Object, status: Object, events: Sequence[Object]) -> Finding:
    reason, message = (text_at(status, "state", "waiting", key) for key in ("reason", "message"))
    reported = [text_at(event, "message") for event in events]
    if reason in _PULLING and not advice.unwrapped(message):
        # Older kubelets lose the registry's answer while they back off; the event still has it.
        pulls = [each for each in reported if each.startswith("Failed to pull")]
        message = re.sub(r'^Failed to pull image "[^"]*": ', "", pulls[-1]) if pulls else message
    elif reason not in _PULLING and advice.is_passing(message):
        # A kubelet whose cache is late reports only that in the status, even if it knows more.
        message = next(filter(advice.is_missing_object, map(advice.unwrapped, reported)), message)
    if reason in _INVALID:
        cause = Cause.IMAGE_INVALID
    elif reason == "ErrImageNeverPull":
        cause = Cause.IMAGE_NOT_FOUND
    elif reason in _PULLING:
        cause = advice.pull_cause(message)
    elif advice.is_missing_object(message):
        cause = Cause.MISSING_OBJECT
    else:
        cause = Cause.ENTRYPOINT if advice.is_entrypoint(message) else Cause.CONTAINER_CONFIG
    ended = _last_end(status)
    return Finding(
        cause,
        name_of(pod),
        text_at(status, "name"),
        reason,
        advice.unwrapped(message) or reason,
        number_at(ended, "exitCode") if ended else None,
        ends_of(status),
        may_mend=advice.is_passing(message),
    )


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
