"""What is wrong with one container of a pod that is not ready: its status and the pod's events in, a finding out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta

from slipway.cluster.diagnosis import advice, pods
from slipway.cluster.diagnosis.model import Cause, Finding
from slipway.cluster.diagnosis.objects import Object, name_of, number_at, object_at, text_at, time_at

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


def finding(pod: Object, status: Object, events: Sequence[Object]) -> Finding | None:
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
    probe = pods.killed_by(events, pod, name, ended)
    make = _finding_maker(pod, status, code)
    if probe:
        return make(Cause[probe.upper()], pods.last_answer(events, name, probe))
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
        if answer := pods.last_answer(events, name, probe):
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
