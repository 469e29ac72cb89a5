"""Rollouts and Jobs: an update interrupts no service, and both end in time."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, Resource, View, share
from policy.kinds import DEFAULT_PROGRESS_DEADLINE_SECONDS, is_built_in, is_recreated, objects
from policy.model import ADVISED_IN_DEV, ONLY_IN_PROD, Family, rule

ROLLOUTS = Family("Rollouts")
DEPLOYMENT_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"
# How long the engine's Kubernetes provider waits for a rollout by default.
# https://www.pulumi.com/registry/packages/kubernetes/api-docs/apps/v1/deployment/
DEFAULT_ENGINE_TIMEOUT_SECONDS = 600
MOST_REVISIONS = 10


@rule(
    "max-unavailable-zero",
    title="A rollout stops no pod before a new one is ready",
    why="Otherwise a pod is missing during every update, and a failed update interrupts the service.",
    source=f"{DEPLOYMENT_PAGE}#max-unavailable",
    remedy="Set strategy.rollingUpdate to `{maxUnavailable: 0, maxSurge: 1}`. `Recreate` is for pods that mount a "
    "PersistentVolumeClaim, which a new pod can mount only after the old one is deleted.",
    of=objects("Deployment"),
)
def max_unavailable_zero(deployment: View) -> Iterator[Problem]:
    strategy = deployment.at("spec", "strategy")
    if is_recreated(deployment):
        return
    if strategy.at("type").read() not in (None, "RollingUpdate"):
        yield strategy.at("type").problem(f"the strategy is {strategy.at('type').shown()}; allowed: `RollingUpdate`")
        return
    value = strategy.at("rollingUpdate", "maxUnavailable")
    if share(value, 100, round_up=False) != 0:
        yield value.problem(f"maxUnavailable is {value.shown()}; allowed: 0 (25% where it is missing)")


@rule(
    "progress-deadline",
    title="A stuck rollout fails before the engine's timeout",
    why="The reason in the Deployment's status says more than `timed out waiting`, and comes sooner.",
    source=f"{DEPLOYMENT_PAGE}#progress-deadline-seconds",
    remedy="Set progressDeadlineSeconds above minReadySeconds and, where the provider waits for the rollout, below the "
    "resource's custom timeouts (10 minutes where none are set).",
    of=objects("Deployment"),
)
def progress_deadline(deployment: View) -> Iterator[Problem]:
    view = deployment.at("spec", "progressDeadlineSeconds")
    deadline = view.number()
    annotations = deployment.at("metadata", "annotations")
    annotated = annotations.at("pulumi.com/timeoutSeconds").text() or ""
    default = float(annotated) if annotated.isdecimal() else DEFAULT_ENGINE_TIMEOUT_SECONDS
    options = deployment.resource.options
    timeout = min(options.create_timeout_seconds or default, options.update_timeout_seconds or default)
    # With `Microservice` the provider does not wait: the program does, which has no timeout.
    skipped = annotations.at("pulumi.com/waitFor").text() or annotations.at("pulumi.com/skipAwait").text() == "true"
    if not skipped and (DEFAULT_PROGRESS_DEADLINE_SECONDS if deadline is None else deadline) >= timeout:
        yield view.problem(
            f"progressDeadlineSeconds is {view.shown()} (600 where it is missing) and the engine waits {timeout:g} s; "
            "allowed: less than the engine waits"
        )
    ready = deployment.at("spec", "minReadySeconds")
    if (ready.number() or 0) >= (DEFAULT_PROGRESS_DEADLINE_SECONDS if deadline is None else deadline):
        yield ready.problem(f"minReadySeconds is {ready.shown()}; allowed: less than progressDeadlineSeconds")


@rule(
    "revision-history",
    title="Deployments keep a few old ReplicaSets",
    why="`kubectl rollout undo` needs an old ReplicaSet, and too many slow down the API server.",
    source=f"{DEPLOYMENT_PAGE}#revision-history-limit",
    remedy="Set revisionHistoryLimit to between 1 and 10.",
    of=objects("Deployment"),
)
def revision_history(deployment: View) -> Iterator[Problem]:
    limit = deployment.at("spec", "revisionHistoryLimit")
    if not 1 <= (limit.number() or 0) <= MOST_REVISIONS:
        yield limit.problem(f"revisionHistoryLimit is {limit.shown()}; allowed: 1 to {MOST_REVISIONS}")


@rule(
    "min-ready-seconds",
    title="A new pod must stay ready for a while before it counts",
    why="A pod that crashes right after its first answer would otherwise replace a good one.",
    source=f"{DEPLOYMENT_PAGE}#min-ready-seconds",
    remedy="Set minReadySeconds to 1 or more (`rollout.minReadySeconds`).",
    of=objects("Deployment"),
    levels=ONLY_IN_PROD,
)
def min_ready_seconds(deployment: View) -> Iterator[Problem]:
    ready = deployment.at("spec", "minReadySeconds")
    if (ready.number() or 0) < 1:
        yield ready.problem(f"minReadySeconds is {ready.shown()}; allowed: 1 or more")


JOBS = Family("Jobs")
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
