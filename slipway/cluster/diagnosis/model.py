"""The objects and logs that a diagnosis reads, and its result; of a Job also whether and how it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from slipway.state.checkpoint import MIGRATION_LABEL

Object = Mapping[str, Any]
REVISION = "deployment.kubernetes.io/revision"
# https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
COMPLETE, FAILED = "Complete", "Failed"


def object_at(item: Object, *keys: str) -> Object:
    """The object at that path, or an empty one."""
    found: Any = item
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def text_at(item: Object, *keys: str) -> str:
    """The text at that path; a number as text, a missing field as an empty one."""
    value = object_at(item, *keys[:-1]).get(keys[-1])
    return "" if value is None else str(value)


def number_at(item: Object, *keys: str, default: int = 0) -> int:
    value = object_at(item, *keys[:-1]).get(keys[-1])
    return value if isinstance(value, int) else default


def objects_at(item: Object, *keys: str) -> list[Object]:
    """The objects in the list at that path."""
    value = object_at(item, *keys[:-1]).get(keys[-1])
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def time_at(item: Object, *keys: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text_at(item, *keys))
    except ValueError:
        return None


def name_of(item: Object) -> str:
    return text_at(item, "metadata", "name")


def uid_of(item: Object) -> str:
    return text_at(item, "metadata", "uid")


def condition(item: Object, kind: str) -> Object:
    """The status condition of that type, or an empty object."""
    return next((each for each in objects_at(item, "status", "conditions") if each.get("type") == kind), {})


def is_owned_by(item: Object, owner: Object) -> bool:
    return any(each.get("uid") == uid_of(owner) for each in objects_at(item, "metadata", "ownerReferences"))


def event_time(event: Object) -> datetime | None:
    """When an event was seen last: recorders of the older and the newer API write different fields."""
    return (
        time_at(event, "series", "lastObservedTime")
        or time_at(event, "lastTimestamp")
        or time_at(event, "eventTime")
        or time_at(event, "metadata", "creationTimestamp")
    )


def first_event_time(event: Object) -> datetime | None:
    """When an event that may have been repeated was seen first."""
    return time_at(event, "firstTimestamp") or time_at(event, "eventTime") or event_time(event)


def event_count(event: Object) -> int:
    return number_at(event, "series", "count") or number_at(event, "count", default=1)


class Cause(StrEnum):
    """Why a rollout does not progress; `docs/diagnosis.md` has a row for each."""

    CRASH = "crash loop"
    ENDED = "container ends by itself"
    OUT_OF_MEMORY = "out of memory"
    READ_ONLY = "read-only file system"
    PERMISSION = "permission denied"
    ENTRYPOINT = "wrong entrypoint"
    LIVENESS = "failing liveness probe"
    STARTUP = "startup too slow"
    READINESS = "failing readiness probe"
    IMAGE_INVALID = "invalid image name"
    IMAGE_NOT_FOUND = "image not found"
    IMAGE_REFUSED = "image pull refused"
    REGISTRY_UNREACHABLE = "registry unreachable"
    MISSING_OBJECT = "missing object"
    CONTAINER_CONFIG = "container cannot be created"
    VOLUME = "volume cannot be mounted"
    RESOURCES = "no node has room"
    PLACEMENT = "no node fits"
    QUOTA = "quota exceeded"
    ADMISSION = "refused by admission"
    EVICTED = "evicted"
    PAUSED = "paused"
    DEADLINE = "deadline exceeded"
    JOB_FAILED = "Job failed"
    STARTING = "still starting"


@dataclass(frozen=True)
class Log:
    """The end of a container's output; `previous` means its run before the present one."""

    pod: str
    container: str
    previous: bool
    text: str


@dataclass(frozen=True)
class Evidence:
    """The cluster's objects of one Deployment, as JSON with camelCase keys.

    `events` are those of the Deployment, its ReplicaSets and its pods; `kubectl` is how a person reaches its namespace.
    """

    deployment: Object
    replica_sets: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    logs: Sequence[Log] = ()
    kubectl: str = "kubectl"

    @property
    def subject(self) -> str:
        """The subject of the first sentence of a diagnosis."""
        return self.service

    @property
    def service(self) -> str:
        return name_of(self.deployment)

    @property
    def is_paused(self) -> bool:
        """Whether `spec.paused` is set: the controller rolls nothing out until it is resumed."""
        return object_at(self.deployment, "spec").get("paused") is True

    def current_set(self) -> Object:
        """The ReplicaSet of the newest template; empty while the controller has not seen the change."""
        if number_at(self.deployment, "status", "observedGeneration") < number_at(
            self.deployment, "metadata", "generation"
        ):
            return {}
        revision = text_at(self.deployment, "metadata", "annotations", REVISION)
        owned = [item for item in self.replica_sets if is_owned_by(item, self.deployment)]
        return next((item for item in owned if text_at(item, "metadata", "annotations", REVISION) == revision), {})

    def current_pods(self) -> list[Object]:
        """Pods of the newest template that are not being deleted; pods of the previous release are not included."""
        newest = self.current_set()
        owned = [pod for pod in self.pods if newest and is_owned_by(pod, newest)]
        return [pod for pod in owned if not text_at(pod, "metadata", "deletionTimestamp")]

    def events_of(self, item: Object) -> list[Object]:
        uid = text_at(item, "metadata", "uid")
        return [event for event in self.events if uid and text_at(event, "involvedObject", "uid") == uid]


@dataclass(frozen=True)
class JobEvidence(Evidence):
    """The cluster's objects of one Job, which takes the place of the Deployment."""

    @property
    def is_paused(self) -> bool:
        return False

    @property
    def subject(self) -> str:
        service = migration_of(self.deployment)
        return f"the migration of {service}" if service else f"Job {name_of(self.deployment)}"

    @property
    def service(self) -> str:
        return migration_of(self.deployment) or cron_job_of(self.deployment) or name_of(self.deployment)

    def current_set(self) -> Object:
        return self.deployment

    def current_pods(self) -> list[Object]:
        """Pods of the Job that have not done their work."""
        owned = (pod for pod in self.pods if is_owned_by(pod, self.deployment))
        return [pod for pod in owned if text_at(pod, "status", "phase") != "Succeeded"]


def migration_of(job: Object) -> str:
    """The service whose migration the Job is; empty for any other Job."""
    return str(object_at(job, "metadata", "labels").get(MIGRATION_LABEL, ""))


def cron_job_of(job: Object) -> str:
    """The CronJob that created the Job; empty if none did."""
    owners = objects_at(job, "metadata", "ownerReferences")
    return next((text_at(each, "name") for each in owners if each.get("kind") == "CronJob"), "")


def is_done(job: Object) -> bool:
    """Whether the Job has done its work."""
    return condition(job, COMPLETE).get("status") == "True"


def has_failed(job: Object) -> bool:
    """Whether the Job has failed for good."""
    return condition(job, FAILED).get("status") == "True"


def last_ended(jobs: Iterable[Object], cron_job: Object) -> Object:
    """The newest Job of a CronJob that has completed or failed; empty if none has."""
    ended = [job for job in jobs if is_owned_by(job, cron_job) and (is_done(job) or has_failed(job))]
    return max(ended, key=lambda job: text_at(job, "metadata", "creationTimestamp"), default={})


@dataclass(frozen=True)
class Finding:
    """What is wrong with one pod, or with the creation of pods (then `pod` is empty).

    `reason` is the answer of the registry, the probe, the scheduler or the kernel; `ends` is how often the container
    has ended; `may_mend` says that it may go away by itself, for example because a node autoscaler works on it.
    """

    cause: Cause
    pod: str = ""
    container: str = ""
    state: str = ""
    reason: str = ""
    exit_code: int | None = None
    ends: int = 0
    may_mend: bool = False


@dataclass(frozen=True)
class LogTail:
    """The last lines of one run of a container, secrets masked."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Why one Deployment's rollout fails. `patience_seconds` is how long this must be seen before the wait ends; `None`
    if it may recover by itself: then the Deployment's deadline decides.
    """

    service: str
    namespace: str
    finding: Finding
    headline: str
    pods: tuple[str, ...] = ()
    pods_wanted: int = 0
    image: str = ""
    logs: tuple[LogTail, ...] = ()
    events: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    patience_seconds: float | None = None

    @property
    def cause(self) -> Cause:
        return self.finding.cause

    @property
    def retryable(self) -> bool:
        """Whether waiting may help."""
        return self.patience_seconds is None


def container_spec(pod: Object, name: str) -> Object:
    """The container of that name in a pod, init containers included; empty if there is none."""
    containers = [*objects_at(pod, "spec", "containers"), *objects_at(pod, "spec", "initContainers")]
    return next((each for each in containers if each.get("name") == name), {})
