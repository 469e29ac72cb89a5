"""What a pod says about why it is not ready, and when waiting longer cannot help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lab.plugins.kubernetes.awaiting.readiness import DONE, Readiness, Sight, condition, failed, waiting
from lab.plugins.kubernetes.naming import qualified_name
from lab.plugins.kubernetes.values import Object, int_at, list_at, mapping_at, text_at

# Seconds a container may wait for such a reason before the rollout is given up. A missing ConfigMap or Secret may be on
# its way in the same update, and a registry may hiccup, so none of them is hopeless at the first sight.
_PATIENCE_SECONDS = {
    "InvalidImageName": 0.0,
    "ErrImageNeverPull": 0.0,
    "ImageInspectError": 10.0,
    "CreateContainerConfigError": 5.0,
    "CreateContainerError": 10.0,
    "RunContainerError": 10.0,
    "ErrImagePull": 15.0,
    "ImagePullBackOff": 15.0,
    "RegistryUnavailable": 15.0,
}
# A container that crashes is given up at its second back-off, or at the first one after this long: a restart may find
# the database that was missing.
_CRASHES_ALLOWED = 2
_CRASHING_SECONDS = 15.0
_HARMLESS = frozenset({"ContainerCreating", "PodInitializing", ""})


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True" or text_at(pod, "status", "phase") == "Succeeded"


def problem(pod: Object) -> str:
    """Why a pod is not ready, in the official plugin's words; empty while it starts as it should."""
    if is_ready(pod):
        return ""
    initialized = condition(pod, "Initialized")
    unmet = initialized if initialized.get("status") == "False" else condition(pod, "Ready")
    told = [text_at(unmet, "message"), *_causes(pod)] if not _is_unscheduled(pod) else _causes(pod)
    joined = " ".join(part for part in told if part)
    return f"[Pod {qualified_name(pod)}]: {joined}" if joined else ""


def _causes(pod: Object) -> list[str]:
    """What has gone wrong with a pod, beyond its not being ready yet."""
    if _is_unscheduled(pod):
        return [text_at(condition(pod, "PodScheduled"), "message")]
    told = [_container_problem(status) for status in container_statuses(pod)]
    if text_at(pod, "status", "phase") == "Failed":
        told.append(f"[{text_at(pod, 'status', 'reason') or 'Failed'}] {text_at(pod, 'status', 'message')}".strip())
    return [part for part in told if part]


def _is_unscheduled(pod: Object) -> bool:
    return condition(pod, "PodScheduled").get("status") == "False"


def alarm(pods: Iterable[Object]) -> str:
    """The first problem that is more than a pod still starting, or an empty string."""
    return next((problem(pod) for pod in pods if not is_ready(pod) and _causes(pod)), "")


def problems(pods: Iterable[Object]) -> list[str]:
    """The problems of many pods, equal ones once."""
    return list(dict.fromkeys(told for told in map(problem, pods) if told))


def hopeless(pod: Object, age: Callable[[str], float]) -> str:
    """The reason why this pod will not become ready by waiting, or an empty string."""
    for status in container_statuses(pod):
        reason = text_at(status, "state", "waiting", "reason")
        if _has_crashed(status) and _crashes_on(pod, status, age) and reason == "CrashLoopBackOff":
            return problem(pod)
        if _is_late_cache(status):
            continue
        if reason in _PATIENCE_SECONDS and _since(pod, status, reason, age) >= _PATIENCE_SECONDS[reason]:
            return problem(pod)
    return ""


def _is_late_cache(status: Object) -> bool:
    """A kubelet that has not heard of a ConfigMap or Secret in time; on a busy machine it does a little later."""
    return text_at(status, "state", "waiting", "message").startswith("failed to sync ")


def _has_crashed(status: Object) -> bool:
    return not status.get("ready") and bool(mapping_at(status, "lastState", "terminated"))


def _crashes_on(pod: Object, status: Object, age: Callable[[str], float]) -> bool:
    """Whether a container that crashed was given its chances; asked at every look, whatever it does just now."""
    return _since(pod, status, "crash", age) >= _CRASHING_SECONDS or int_at(status, "restartCount") >= _CRASHES_ALLOWED


def _since(pod: Object, status: Object, reason: str, age: Callable[[str], float]) -> float:
    """For how long a container has waited for the reason; pulling and backing off from pulling are one."""
    step = "image pull" if reason in ("ErrImagePull", "ImagePullBackOff") else reason
    return age(f"{text_at(pod, 'metadata', 'uid')}/{text_at(status, 'name')}/{step}")


def first_hopeless(pods: Iterable[Object], age: Callable[[str], float]) -> str:
    """The first hopeless pod's reason; every pod is asked, so that each one's age counts from its own start."""
    return next(iter([told for told in [hopeless(pod, age) for pod in pods] if told]), "")


def container_statuses(pod: Object) -> Iterator[Object]:
    """Statuses of the init containers, then of the containers."""
    for key in ("initContainerStatuses", "containerStatuses"):
        for status in list_at(pod, "status", key):
            if isinstance(status, dict):
                yield status


def _container_problem(status: Object) -> str:
    if status.get("ready"):
        return ""
    name, told = text_at(status, "name"), []
    waits = mapping_at(status, "state", "waiting")
    if text_at(waits, "reason") not in _HARMLESS:
        told.append(f"[{text_at(waits, 'reason')}] {text_at(waits, 'message')}".strip())
    ended = mapping_at(status, "state", "terminated")
    if ended and ended.get("exitCode") != 0:
        message = text_at(ended, "message")
        told.append(f"[{text_at(ended, 'reason')}] {message}" if message else _exit(name, "completed with", ended))
    last = mapping_at(status, "lastState", "terminated")
    if last:
        at = text_at(last, "finishedAt")
        told.append(
            f"container {name!r} terminated at {at} ({text_at(last, 'reason')}: exit code {last.get('exitCode')})"
        )
        told.append(text_at(last, "message"))
    return " ".join(part.strip() for part in told if part)


def _exit(name: str, verb: str, ended: Object) -> str:
    return f"container {name!r} {verb} exit code {ended.get('exitCode')}"


def pod(sight: Sight) -> Readiness:
    """A bare pod: running and ready, or succeeded."""
    live, name = sight.live, qualified_name(sight.live)
    if is_ready(live):
        return DONE
    told = problem(live)
    if text_at(live, "status", "phase") == "Failed":
        return failed(f"Pod {name!r} failed", told)
    if lost := hopeless(live, sight.age):
        return failed(f"Pod {name!r} cannot become ready", lost)
    step = "scheduled" if condition(live, "PodScheduled").get("status") != "True" else "ready"
    return waiting(told or f"Waiting for Pod {name!r} to be {step}", *([told] if told else []))
