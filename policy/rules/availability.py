"""Availability: drained nodes and load interrupt no service."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from policy.declaration import Problem, Resource, View, all_known, any_known, known_matches, problems_of, share
from policy.kinds import is_recreated, objects
from policy.model import ADVISED_IN_DEV, ONLY_IN_PROD, Family, rule, stack_rule
from policy.stack import DeclaredStack, Pod, is_object, matches, namespace, object_name

AVAILABILITY = Family("Availability")
DEPLOYMENT_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"
DISRUPTIONS_PAGE = "https://kubernetes.io/docs/tasks/run-application/configure-pdb/"
AUTOSCALER_PAGE = "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/"
SPREAD_PAGE = "https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/"
LEAST_REPLICAS = 2


@stack_rule(
    "replicas",
    title="Deployments and StatefulSets have two replicas or more",
    why="With one, every drained node and every crash is an outage.",
    source="kube-score: deployment-replicas; https://kubernetes.io/docs/concepts/workloads/pods/disruptions/",
    remedy="Set `replicas`, or `autoscaling.minReplicas`, to 2 or more. The rule does not apply to a Deployment of "
    "strategy `Recreate` whose pods mount a PersistentVolumeClaim.",
    of=objects("Deployment", "StatefulSet"),
    levels=ONLY_IN_PROD,
)
def replicas(workload: View, stack: DeclaredStack) -> Iterator[Problem]:
    fewest = fewest_replicas(workload, stack)
    if is_recreated(workload):
        return
    if (fewest.number() or 0) < LEAST_REPLICAS:
        met = "`1`, the default" if fewest.read() is None else fewest.shown()
        yield fewest.problem(f"{fewest.path} is {met}; allowed: {LEAST_REPLICAS} or more")


@stack_rule(
    "disruption-budget",
    title="A PodDisruptionBudget selects the pods of each Deployment and StatefulSet",
    why="Without one, draining nodes may evict all pods of a service at once.",
    source=DISRUPTIONS_PAGE,
    remedy="Declare a PodDisruptionBudget whose selector matches the pods.",
    of=objects("Deployment", "StatefulSet"),
    levels=ADVISED_IN_DEV,
)
def disruption_budget(workload: View, stack: DeclaredStack) -> Iterator[Problem]:
    pod = Pod(workload.resource, workload.at("spec", "template"))
    budgets = stack.selecting(pod, "PodDisruptionBudget", "spec", "selector")
    if not any_known(budgets, lambda budget: _takes(budget, pod, stack)):
        yield pod.labels.problem(
            "no PodDisruptionBudget of the stack selects these pods; allowed: one that does, in the same namespace"
        )


def _takes(budget: Resource, pod: Pod, stack: DeclaredStack) -> bool:
    """A selector that is missing selects nothing."""
    selector = View.of(budget).at("spec", "selector")
    return all_known((lambda: selector.present, lambda: stack.selects(budget, selector, pod)))


@stack_rule(
    "disruption-budget-satisfiable",
    title="PodDisruptionBudgets select pods and allow an eviction",
    why="A budget that allows no eviction blocks every node drain; one that selects no pods protects none.",
    source=f"{DISRUPTIONS_PAGE}#specifying-a-poddisruptionbudget",
    remedy="Set `maxUnavailable: 1`, and the selector to the labels of the pods.",
    of=objects("PodDisruptionBudget"),
)
def disruption_budget_satisfiable(budget: View, stack: DeclaredStack) -> Iterator[Problem]:
    selector = budget.at("spec", "selector")
    if not selector.present or not stack.selects_any(budget.resource, selector):
        yield selector.problem("the selector matches no pod of the stack; allowed: the labels of a workload's pods")
        return
    pods = known_matches(
        stack.pods_having(selector.at("matchLabels")), partial(stack.selects, budget.resource, selector)
    )
    yield from problems_of((_lets_one_go, _is_alone), lambda check: check(budget, pods, stack))


def _lets_one_go(budget: View, pods: list[Pod], stack: DeclaredStack) -> Iterator[Problem]:
    """If neither number is given, the disruption controller allows 0: k8s.io/kubernetes, disruption.go."""
    most, least = budget.at("spec", "maxUnavailable"), budget.at("spec", "minAvailable")

    def check(workload: View) -> Iterator[Problem]:
        replicas = fewest_replicas(workload, stack)
        number = replicas.number()
        running = 1 if number is None else number
        kept = share(least, running, round_up=True)
        if kept is not None and kept >= running:
            yield least.problem(
                f"minAvailable is {least.shown()} of {running:g} pods of {replicas.resource.ref}: none can be evicted; "
                "allowed: less than the replicas, or `maxUnavailable: 1`"
            )

    if not most.present and not least.present:
        yield most.problem("neither maxUnavailable nor minAvailable is set: no pod can be evicted; allowed: one")
    elif most.present and (share(most, 100, round_up=True) or 0) < 1:
        yield most.problem(f"maxUnavailable is {most.shown()}: no pod can be evicted; allowed: 1 or more")
    elif least.present:
        scaled = (View.of(pod.resource) for pod in pods if pod.resource.kind in SCALED_KINDS)
        yield from problems_of(scaled, check)


def _is_alone(budget: View, pods: list[Pod], stack: DeclaredStack) -> Iterator[Problem]:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/#how-api-initiated-eviction-works"""

    def check(pod: Pod) -> Iterator[Problem]:
        budgets = stack.selecting(pod, "PodDisruptionBudget", "spec", "selector")
        others = (each for each in budgets if each is not budget.resource)
        for other in known_matches(others, lambda each: _takes(each, pod, stack)):
            yield budget.at("spec", "selector").problem(
                f"{other.ref} selects the pods of {pod.resource.ref} too: the API server evicts no pod that has two "
                "budgets; allowed: one"
            )

    return problems_of(pods, check)


@rule(
    "topology-spread",
    title="Pods of a service are spread over nodes",
    why="If all replicas run on one node, they all stop when it fails.",
    source=SPREAD_PAGE,
    remedy="Set topologySpreadConstraints over `kubernetes.io/hostname` whose labelSelector matches the pod's own "
    "labels, or a podAntiAffinity with a term that does.",
    of=objects("Deployment", "StatefulSet"),
    levels=ADVISED_IN_DEV,
)
def topology_spread(workload: View) -> Iterator[Problem]:
    template = workload.at("spec", "template")
    labels = template.at("metadata", "labels")
    constraints = template.at("spec", "topologySpreadConstraints")

    def spread_evenly() -> bool:
        selectors = [each.at("labelSelector") for each in constraints.items()]
        return bool(selectors) and all_known(partial(_takes_own, labels, each) for each in selectors)

    def kept_apart() -> bool:
        # https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
        affinity = template.at("spec", "affinity", "podAntiAffinity")
        required = affinity.at("requiredDuringSchedulingIgnoredDuringExecution").subjects()
        preferred = affinity.at("preferredDuringSchedulingIgnoredDuringExecution").subjects()
        terms = [*required, *(each.at("podAffinityTerm") for each in preferred)]
        return any_known(terms, lambda term: _takes_own(labels, term.at("labelSelector")))

    def check(constraint: View) -> Iterator[Problem]:
        if not _takes_own(labels, constraint.at("labelSelector")):
            yield constraint.at("labelSelector").problem(
                "the labelSelector does not match the pod's own labels; allowed: one that does"
            )

    if any_known((spread_evenly, kept_apart), lambda holds: holds()):
        return
    if not constraints.items():
        yield constraints.problem(
            "the pods have no topologySpreadConstraints, and no term of a podAntiAffinity matches their own labels; "
            "allowed: either"
        )
    yield from problems_of(constraints.items(), check)


def _takes_own(labels: View, selector: View) -> bool:
    """Whether a label selector selects pods with these labels; a missing one selects nothing."""
    return selector.present and matches(selector, labels)


@stack_rule(
    "autoscaler-owns-replicas",
    title="A workload with a HorizontalPodAutoscaler does not set replicas",
    why="Every update would reset the number of replicas that the autoscaler has set.",
    source=f"{AUTOSCALER_PAGE}#migrating-deployments-and-statefulsets-to-horizontal-autoscaling",
    remedy="Leave `replicas` out of the workload, or remove the HorizontalPodAutoscaler.",
    of=objects("HorizontalPodAutoscaler"),
)
def autoscaler_owns_replicas(scaler: View, stack: DeclaredStack) -> Iterator[Problem]:
    for workload in scaled_by(scaler, stack):
        fixed = View.of(workload).at("spec", "replicas")
        if fixed.present:
            yield scaler.at("spec", "scaleTargetRef").problem(
                f"it scales {workload.ref}, which sets replicas to {fixed.shown()}; allowed: no `replicas` there"
            )


@stack_rule(
    "autoscaler-target",
    title="A HorizontalPodAutoscaler scales a workload of the stack, within a range",
    why="An autoscaler whose target does not exist scales nothing, and the update still succeeds.",
    source=AUTOSCALER_PAGE,
    remedy="Name an existing workload of the same namespace, and minReplicas of at most maxReplicas.",
    of=objects("HorizontalPodAutoscaler"),
)
def autoscaler_target(scaler: View, stack: DeclaredStack) -> Iterator[Problem]:
    target = scaler.at("spec", "scaleTargetRef")
    if not scaled_by(scaler, stack):
        workloads = [f"{each.kind} `{object_name(each).value}`" for each in stack.of_kind(*SCALED_KINDS)]
        known = ", ".join(workloads) or "none, until one is declared"
        yield target.problem(
            f"the stack has no {target.at('kind').read()} named {target.at('name').shown()} in namespace "
            f"{namespace(scaler.resource).shown()}; allowed: {known}"
        )
    fewest, most = scaler.at("spec", "minReplicas").number(), scaler.at("spec", "maxReplicas").number()
    if most is None or (fewest if fewest is not None else 1) > most:
        yield scaler.at("spec", "maxReplicas").problem(
            f"maxReplicas is {scaler.at('spec', 'maxReplicas').shown()}; allowed: minReplicas or more"
        )


@rule(
    "selector-matches-pods",
    title="A workload's selector matches the labels of its pod template",
    why="Otherwise the API server rejects the workload, or it adopts the pods of another workload.",
    source=f"{DEPLOYMENT_PAGE}#selector",
    remedy="Set spec.selector.matchLabels to labels that spec.template.metadata has.",
    of=objects("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"),
)
def selector_matches_pods(workload: View) -> Iterator[Problem]:
    selector = workload.at("spec", "selector")
    labels = workload.at("spec", "template", "metadata", "labels")
    if not selector.at("matchLabels").entries() and not selector.at("matchExpressions").items():
        yield selector.problem("the selector is missing or empty; allowed: labels of the pod template")
    elif not matches(selector, labels):
        yield selector.problem("the selector does not match the labels of the pod template; allowed: these labels")


SCALED_KINDS = ("Deployment", "StatefulSet", "ReplicaSet")


def fewest_replicas(workload: View, stack: DeclaredStack) -> View:
    """The fewest pods that the workload has: its autoscaler's minReplicas if it has one, or its replicas."""
    scalers = stack.where("HorizontalPodAutoscaler", object_name(workload.resource), "spec", "scaleTargetRef", "name")
    found = known_matches(scalers, lambda scaler: _scales(scaler, workload.resource))
    return View.of(found[0]).at("spec", "minReplicas") if found else workload.at("spec", "replicas")


def scaled_by(scaler: View, stack: DeclaredStack) -> list[Resource]:
    """The workloads of the stack that a HorizontalPodAutoscaler scales."""
    name = scaler.at("spec", "scaleTargetRef", "name")
    workloads = [each for kind in SCALED_KINDS for each in stack.where(kind, name, "metadata", "name")]
    return known_matches(workloads, lambda workload: _scales(scaler.resource, workload))


def _scales(scaler: Resource, workload: Resource) -> bool:
    target = View.of(scaler).at("spec", "scaleTargetRef")
    return all_known(
        (
            lambda: target.at("kind").text() == workload.kind,
            lambda: is_object(workload, target.at("name"), scaler),
        )
    )
