"""Jobs and CronJobs: they end in time, are retried only a few times, and few finished ones are kept."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, Resource, View
from policy.kinds import is_built_in, objects
from policy.model import ADVISED_IN_DEV, rule

JOB_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/job/"
CRON_JOB_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/"
MOST_JOBS_KEPT = 10
MOST_RETRIES = 6
# The defaults of the API server: k8s.io/kubernetes, pkg/apis/batch/v1/defaults.go.
DEFAULT_SUCCESSFUL_JOBS, DEFAULT_FAILED_JOBS, DEFAULT_BACKOFF_LIMIT = 3, 1, 6


def _job_specs(resource: Resource) -> list[View]:
    """The `spec` of a Job, and that of the Jobs that a CronJob creates."""
    keys = {"Job": ("spec",), "CronJob": ("spec", "jobTemplate", "spec")}.get(resource.kind)
    return [View.of(resource).at(*keys)] if keys and is_built_in(resource) else []


@rule(
    "job-deadline",
    title="Jobs have a deadline",
    why="A Job that hangs never ends and never fails, and the next one does not start.",
    source=f"{JOB_PAGE}#job-termination-and-cleanup",
    remedy="Set activeDeadlineSeconds (`cronJob.activeDeadlineSeconds`, `migration.activeDeadlineSeconds`).",
    of=_job_specs,
    levels=ADVISED_IN_DEV,
)
def job_deadline(job: View) -> Iterator[Problem]:
    deadline = job.at("activeDeadlineSeconds")
    if (deadline.number() or 0) < 1:
        yield deadline.problem(f"activeDeadlineSeconds is {deadline.shown()}; allowed: 1 or more")


@rule(
    "job-retries",
    title="Jobs have few retries",
    why="Each retry starts a pod: a Job that cannot succeed leaves many pods, and fails late.",
    source=f"{JOB_PAGE}#pod-backoff-failure-policy",
    remedy=f"Set backoffLimit to {MOST_RETRIES} or less (`cronJob.backoffLimit`).",
    of=_job_specs,
    levels=ADVISED_IN_DEV,
)
def job_retries(job: View) -> Iterator[Problem]:
    limit = job.at("backoffLimit")
    number = limit.number()
    if (DEFAULT_BACKOFF_LIMIT if number is None else number) > MOST_RETRIES:
        yield limit.problem(f"backoffLimit is {limit.shown()}; allowed: 0 to {MOST_RETRIES}")


@rule(
    "cron-job-history",
    title="CronJobs keep a few finished Jobs",
    why="The logs of a failed Job show why it failed; too many finished Jobs slow down the API server.",
    source=f"{CRON_JOB_PAGE}#jobs-history-limits",
    remedy=f"Set failedJobsHistoryLimit to 1 to {MOST_JOBS_KEPT}, and successfulJobsHistoryLimit to at most that.",
    of=objects("CronJob"),
)
def cron_job_history(cron_job: View) -> Iterator[Problem]:
    failed, successful = (cron_job.at("spec", f"{word}JobsHistoryLimit") for word in ("failed", "successful"))
    numbers = failed.number(), successful.number()
    if not 1 <= (DEFAULT_FAILED_JOBS if numbers[0] is None else numbers[0]) <= MOST_JOBS_KEPT:
        yield failed.problem(f"failedJobsHistoryLimit is {failed.shown()}; allowed: 1 to {MOST_JOBS_KEPT}")
    if (DEFAULT_SUCCESSFUL_JOBS if numbers[1] is None else numbers[1]) > MOST_JOBS_KEPT:
        yield successful.problem(f"successfulJobsHistoryLimit is {successful.shown()}; allowed: 0 to {MOST_JOBS_KEPT}")
