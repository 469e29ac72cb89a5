"""Availability: updates, drained nodes and load take no service away."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policy.declaration import Problem, Resource
from policy.define import rule, stack_rule
from policy.kinds import objects
from policy.labels import is_object, matches, namespace, object_name
from policy.model import ADVISED_IN_DEV, ONLY_IN_PROD
from policy.quantities import share
from policy.stack import Pod, Stack
from policy.view import View, every, some, those

DEPLOYMENT_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"
DISRUPTIONS_PAGE = "https://kubernetes.io/docs/tasks/run-application/configure-pdb/"
AUTOSCALER_PAGE = "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/"
SPREAD_PAGE = "https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/"
LEAST_REPLICAS = 2
# What the engine's Kubernetes provider waits for a rollout where nothing else is said.
# https://www.pulumi.com/registry/packages/kubernetes/api-docs/apps/v1/deployment/
DEFAULT_ENGINE_TIMEOUT_SECONDS = 600
DEFAULT_DEADLINE_SECONDS = 600
MOST_REVISIONS = 10
SCALED_KINDS = ("Deployment", "StatefulSet", "ReplicaSet")


@stack_rule(
    "replicas",
    title="Deployments have two replicas or more",
    why="With one, every drained node and every crash is an outage.",
    source="kube-score: deployment-replicas; https://kubernetes.io/docs/concepts/workloads/pods/disruptions/",
    remedy="Set `replicas` to 2 or more, or `autoscaling.minReplicas` where it is scaled.",
    of=objects("Deployment"),
    levels=ONLY_IN_PROD,
)
def replicas(deployment: View, stack: Stack) -> Iterator[Problem]:
    fewest = _fewest_replicas(deployment, stack)
    if (fewest.number() or 0) < LEAST_REPLICAS:
        met = "`1`, the default" if fewest.read() is None else fewest.shown()
        yield fewest.problem(f"{fewest.path} is {met}; allowed: {LEAST_REPLICAS} or more")


def _fewest_replicas(deployment: View, stack: Stack) -> View:
    scaler = _autoscaler(deployment.resource, stack)
    if scaler is not None:
        return View.of(scaler).at("spec", "minReplicas")
    return deployment.at("spec", "replicas")


def _autoscaler(workload: Resource, stack: Stack) -> Resource | None:
    scalers = stack.where("HorizontalPodAutoscaler", object_name(workload), "spec", "scaleTargetRef", "name")
    found = those(scalers, lambda scaler: _scales(scaler, workload))
    return found[0] if found else None


def _scales(scaler: Resource, workload: Resource) -> bool:
    target = View.of(scaler).at("spec", "scaleTargetRef")
    same_kind = partial(_is_text, target.at("kind"), workload.kind)
    return every((same_kind, partial(is_object, workload, target.at("name"), scaler)))


def _is_text(view: View, text: str) -> bool:
    return view.text() == text


@rule(
    "max-unavailable-zero",
    title="A rollout takes no pod away before a new one is ready",
    why="Otherwise every update runs for a while with less than what was asked for, and a bad one breaks it.",
    source=f"{DEPLOYMENT_PAGE}#max-unavailable",
    remedy="Set strategy.rollingUpdate to `{maxUnavailable: 0, maxSurge: 1}`.",
    of=objects("Deployment"),
)
def max_unavailable_zero(deployment: View) -> Iterator[Problem]:
    strategy = deployment.at("spec", "strategy")
    if strategy.at("type").read() not in (None, "RollingUpdate"):
        yield strategy.at("type").problem(f"the strategy is {strategy.at('type').shown()}; allowed: `RollingUpdate`")
        return
    value = strategy.at("rollingUpdate", "maxUnavailable")
    if share(value, 100, round_up=False) != 0:
        yield value.problem(f"maxUnavailable is {value.shown()}; allowed: 0 (25% where it is missing)")


@stack_rule(
    "disruption-budget",
    title="A PodDisruptionBudget watches over each Deployment's pods",
    why="Without one, draining nodes may evict all pods of a service at once.",
    source=DISRUPTIONS_PAGE,
    remedy="Declare a PodDisruptionBudget whose selector takes the pods.",
    of=objects("Deployment", "StatefulSet"),
    levels=ADVISED_IN_DEV,
)
def disruption_budget(workload: View, stack: Stack) -> Iterator[Problem]:
    pod = Pod(workload.resource, workload.at("spec", "template"))
    budgets = stack.selecting(pod, "PodDisruptionBudget", "spec", "selector")
    if not some(budgets, lambda budget: _selector(budget).present and stack.selects(budget, _selector(budget), pod)):
        yield pod.labels.problem(
            "no PodDisruptionBudget of the stack selects these pods; allowed: one that does, in the same namespace"
        )


def _selector(resource: Resource) -> View:
    return View.of(resource).at("spec", "selector")


@stack_rule(
    "disruption-budget-satisfiable",
    title="PodDisruptionBudgets select pods and let one go",
    why="One that allows no eviction blocks the draining of nodes for ever; one that selects nothing protects nothing.",
    source=f"{DISRUPTIONS_PAGE}#specifying-a-poddisruptionbudget",
    remedy="Set `maxUnavailable: 1`, and the selector to the labels of the pods.",
    of=objects("PodDisruptionBudget"),
)
def disruption_budget_satisfiable(budget: View, stack: Stack) -> Iterator[Problem]:
    selector = budget.at("spec", "selector")
    if not selector.present or not stack.selects_any(budget.resource, selector):
        yield selector.problem("the selector takes no pod of the stack; allowed: the labels of a workload's pods")
        return
    most = budget.at("spec", "maxUnavailable")
    if most.present:
        if (share(most, 100, round_up=True) or 0) < 1:
            yield most.problem(f"maxUnavailable is {most.shown()}: no pod may ever be evicted; allowed: 1 or more")
        return
    for pod in those(stack.pods_having(selector.at("matchLabels")), partial(stack.selects, budget.resource, selector)):
        if pod.resource.kind in SCALED_KINDS:
            yield from _pods_left(budget.at("spec", "minAvailable"), _fewest_replicas(View.of(pod.resource), stack))


def _pods_left(least: View, wanted: View) -> Iterator[Problem]:
    number = wanted.number()
    pods = 1 if number is None else number
    kept = share(least, pods, round_up=True)
    if kept is not None and kept >= pods:
        yield least.problem(
            f"minAvailable is {least.shown()} of {pods:g} pods of {wanted.resource.ref}: none may ever be evicted; "
            "allowed: less than the replicas, or `maxUnavailable: 1`"
        )


@rule(
    "topology-spread",
    title="Pods of a service are spread over nodes",
    why="Replicas on one node fall together with it.",
    source=SPREAD_PAGE,
    remedy="Set topologySpreadConstraints over `kubernetes.io/hostname` whose labelSelector takes the pod's own "
    "labels, or a podAntiAffinity.",
    of=objects("Deployment", "StatefulSet"),
    levels=ADVISED_IN_DEV,
)
def topology_spread(workload: View) -> Iterator[Problem]:
    template = workload.at("spec", "template")
    labels = template.at("metadata", "labels")
    constraints = template.at("spec", "topologySpreadConstraints")
    if template.at("spec", "affinity", "podAntiAffinity").present:
        return
    if not constraints.items():
        yield constraints.problem("the pods have no topologySpreadConstraints and no podAntiAffinity; allowed: either")
    for constraint in constraints.items():
        selector = constraint.at("labelSelector")
        if not selector.present or not matches(selector, labels):
            yield selector.problem("the labelSelector does not take the pod's own labels; allowed: one that does")


def _scaled_by(scaler: View, stack: Stack) -> list[Resource]:
    name = scaler.at("spec", "scaleTargetRef", "name")
    workloads = [each for kind in SCALED_KINDS for each in stack.where(kind, name, "metadata", "name")]
    return those(workloads, lambda workload: _scales(scaler.resource, workload))


@stack_rule(
    "autoscaler-owns-replicas",
    title="A scaled workload does not fix its replicas",
    why="Every update would set them back and throw away what the load asked for.",
    source=f"{AUTOSCALER_PAGE}#migrating-deployments-and-statefulsets-to-horizontal-autoscaling",
    remedy="Leave `replicas` out of the workload, or remove the HorizontalPodAutoscaler.",
    of=objects("HorizontalPodAutoscaler"),
)
def autoscaler_owns_replicas(scaler: View, stack: Stack) -> Iterator[Problem]:
    for workload in _scaled_by(scaler, stack):
        fixed = View.of(workload).at("spec", "replicas")
        if fixed.present:
            yield scaler.at("spec", "scaleTargetRef").problem(
                f"it scales {workload.ref}, which sets replicas to {fixed.shown()}; allowed: no `replicas` there"
            )


@stack_rule(
    "autoscaler-target",
    title="A HorizontalPodAutoscaler scales a workload of the stack, within a range",
    why="A target that does not exist is never scaled, and nothing says so.",
    source=AUTOSCALER_PAGE,
    remedy="Name an existing workload of the same namespace, and minReplicas of at most maxReplicas.",
    of=objects("HorizontalPodAutoscaler"),
)
def autoscaler_target(scaler: View, stack: Stack) -> Iterator[Problem]:
    target = scaler.at("spec", "scaleTargetRef")
    if not _scaled_by(scaler, stack):
        workloads = stack.of_kind(*SCALED_KINDS)
        yield target.problem(
            f"the stack has no {target.at('kind').read()} named {target.at('name').shown()} in namespace "
            f"{namespace(scaler.resource).shown()}; allowed: {_names(workloads)}"
        )
    fewest, most = scaler.at("spec", "minReplicas").number(), scaler.at("spec", "maxReplicas").number()
    if most is None or (fewest if fewest is not None else 1) > most:
        yield scaler.at("spec", "maxReplicas").problem(
            f"maxReplicas is {scaler.at('spec', 'maxReplicas').shown()}; allowed: minReplicas or more"
        )


def _names(workloads: list[Resource]) -> str:
    return ", ".join(f"{each.kind} `{object_name(each).value}`" for each in workloads) or "none, until one is declared"


@rule(
    "progress-deadline",
    title="A stuck rollout is given up before the engine's patience ends",
    why="The Deployment's own reason is worth more than `timed out waiting`, and it comes sooner.",
    source=f"{DEPLOYMENT_PAGE}#progress-deadline-seconds",
    remedy="Set progressDeadlineSeconds below the resource's custom timeouts (10 minutes where none are set), "
    "and above minReadySeconds.",
    of=objects("Deployment"),
)
def progress_deadline(deployment: View) -> Iterator[Problem]:
    view = deployment.at("spec", "progressDeadlineSeconds")
    deadline = view.number()
    timeout = _engine_timeout_seconds(deployment)
    if (DEFAULT_DEADLINE_SECONDS if deadline is None else deadline) >= timeout:
        yield view.problem(
            f"progressDeadlineSeconds is {view.shown()} (600 where it is missing) and the engine waits {timeout:g} s; "
            "allowed: less than the engine waits"
        )
    ready = deployment.at("spec", "minReadySeconds")
    if (ready.number() or 0) >= (DEFAULT_DEADLINE_SECONDS if deadline is None else deadline):
        yield ready.problem(f"minReadySeconds is {ready.shown()}; allowed: less than progressDeadlineSeconds")


def _engine_timeout_seconds(deployment: View) -> float:
    annotated = deployment.at("metadata", "annotations", "pulumi.com/timeoutSeconds").text() or ""
    default = float(annotated) if annotated.isdecimal() else DEFAULT_ENGINE_TIMEOUT_SECONDS
    options = deployment.resource.options
    return min(options.create_timeout_seconds or default, options.update_timeout_seconds or default)


@rule(
    "revision-history",
    title="Deployments keep a few old ReplicaSets",
    why="None leaves `kubectl rollout undo` nothing to go back to, and too many slow the API server down.",
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


@rule(
    "selector-matches-pods",
    title="A workload's selector takes the pods of its own template",
    why="The API server refuses it, or the workload counts another's pods as its own.",
    source=f"{DEPLOYMENT_PAGE}#selector",
    remedy="Let spec.selector.matchLabels be among the labels of spec.template.metadata.",
    of=objects("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"),
)
def selector_matches_pods(workload: View) -> Iterator[Problem]:
    selector = workload.at("spec", "selector")
    labels = workload.at("spec", "template", "metadata", "labels")
    if not selector.at("matchLabels").entries() and not selector.at("matchExpressions").items():
        yield selector.problem("the selector is missing or empty; allowed: labels of the pod template")
    elif not matches(selector, labels):
        yield selector.problem("the selector does not take the pods of its own template; allowed: their labels")
