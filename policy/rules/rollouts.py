"""Rollouts: an update interrupts no service, and ends in time."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, View, share
from policy.kinds import is_recreated, objects
from policy.model import ONLY_IN_PROD, rule

DEPLOYMENT_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"
# How long the engine's Kubernetes provider waits for a rollout by default.
# https://www.pulumi.com/registry/packages/kubernetes/api-docs/apps/v1/deployment/
DEFAULT_ENGINE_TIMEOUT_SECONDS = 600
DEFAULT_DEADLINE_SECONDS = 600
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
    annotated = deployment.at("metadata", "annotations", "pulumi.com/timeoutSeconds").text() or ""
    default = float(annotated) if annotated.isdecimal() else DEFAULT_ENGINE_TIMEOUT_SECONDS
    options = deployment.resource.options
    timeout = min(options.create_timeout_seconds or default, options.update_timeout_seconds or default)
    if _is_awaited(deployment) and (DEFAULT_DEADLINE_SECONDS if deadline is None else deadline) >= timeout:
        yield view.problem(
            f"progressDeadlineSeconds is {view.shown()} (600 where it is missing) and the engine waits {timeout:g} s; "
            "allowed: less than the engine waits"
        )
    ready = deployment.at("spec", "minReadySeconds")
    if (ready.number() or 0) >= (DEFAULT_DEADLINE_SECONDS if deadline is None else deadline):
        yield ready.problem(f"minReadySeconds is {ready.shown()}; allowed: less than progressDeadlineSeconds")


def _is_awaited(deployment: View) -> bool:
    """Whether the provider waits for the rollout: with `Microservice` the program does, which has no timeout."""
    annotations = deployment.at("metadata", "annotations")
    return not annotations.at("pulumi.com/waitFor").text() and annotations.at("pulumi.com/skipAwait").text() != "true"


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
