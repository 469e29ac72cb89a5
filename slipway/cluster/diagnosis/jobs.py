"""Whether and how a Job has ended; its pods as the evidence for a diagnosis. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.cluster.diagnosis.diagnose import diagnose
from slipway.cluster.diagnosis.model import Cause, Diagnosis, Evidence, Finding
from slipway.cluster.diagnosis.objects import (
    Object,
    condition,
    is_owned_by,
    name_of,
    object_at,
    objects_at,
    text_at,
)
from slipway.state.checkpoint import MIGRATION_LABEL

# https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
COMPLETE, FAILED = "Complete", "Failed"


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


def diagnose_job(evidence: JobEvidence) -> Diagnosis:
    """Why the Job fails, or does not end."""
    found = diagnose(evidence)
    failed = condition(evidence.deployment, FAILED)
    if found.pods or found.cause is not Cause.STARTING or failed.get("status") != "True":
        return found
    # No pod is left: a Job that exceeds its deadline deletes its pods.
    cause = Cause.DEADLINE if text_at(failed, "reason") == "DeadlineExceeded" else Cause.JOB_FAILED
    return diagnose(evidence, Finding(cause, "", "", text_at(failed, "reason"), text_at(failed, "message")))
