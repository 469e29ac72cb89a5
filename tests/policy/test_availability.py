"""What keeps a service available: budgets, spreading, replicas and rollouts at their edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policy.declaration import Options, Resource
from policy.model import State
from tests.policy.policy_examples import MISSING, SELECTOR, UNKNOWN, Edit, edited, judged, kubernetes, of, pod, result

VIOLATION, PASS, UNDECIDED = State.VIOLATION, State.PASS, State.UNDECIDED
DEPLOYMENT = "Deployment/api"
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
BUDGET = "policy/v1:PodDisruptionBudget"
SATISFIABLE = ("disruption-budget-satisfiable", "PodDisruptionBudget/api")


@pytest.mark.parametrize(
    ("fewest", "expected"), [(2, PASS), (1, VIOLATION), (MISSING, VIOLATION), (UNKNOWN, UNDECIDED)]
)
def test_a_scaled_deployment_is_counted_by_its_autoscaler(fewest: Any, expected: State) -> None:
    spoilt = edited(Edit("HorizontalPodAutoscaler/api", ("spec", "minReplicas"), fewest))
    assert of("replicas", "Deployment/scaled", spoilt) is expected


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"minAvailable": 1}, PASS),
        ({"minAvailable": 2}, VIOLATION),
        ({"minAvailable": "100%"}, VIOLATION),
        ({"minAvailable": "50%"}, PASS),
        ({"maxUnavailable": "1%"}, PASS),
        ({"maxUnavailable": 0}, VIOLATION),
        ({"minAvailable": 0}, PASS),
        ({"minAvailable": UNKNOWN}, UNDECIDED),
        # Neither: the controller's disruptionsAllowed stays 0.
        ({}, VIOLATION),
        ({"maxUnavailable": None, "minAvailable": None}, VIOLATION),
        ({"maxUnavailable": UNKNOWN}, UNDECIDED),
    ],
)
def test_a_budget_lets_a_pod_go(budget: dict[str, Any], expected: State) -> None:
    spoilt = edited(Edit("PodDisruptionBudget/api", ("spec",), {"selector": SELECTOR, **budget}))
    assert of("disruption-budget-satisfiable", "PodDisruptionBudget/api", spoilt) is expected


def test_a_budget_in_another_namespace_does_not_count() -> None:
    spoilt = edited(Edit("PodDisruptionBudget/api", ("metadata", "namespace"), "elsewhere"))
    assert of("disruption-budget", DEPLOYMENT, spoilt) is VIOLATION
    assert of("disruption-budget-satisfiable", "PodDisruptionBudget/api", spoilt) is VIOLATION


def budget(name: str, selector: Any, namespace: Any = "shop") -> Resource:
    made = kubernetes(BUDGET, name, spec={"maxUnavailable": 1, "selector": selector})
    return replace(made, inputs={**made.inputs, "metadata": {"name": name, "namespace": namespace}})


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (budget("second", SELECTOR), VIOLATION),
        (budget("second", {}), VIOLATION),
        (budget("second", {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "Exists"}]}), VIOLATION),
        (budget("second", SELECTOR, "elsewhere"), PASS),
        (budget("second", {"matchLabels": {"app.kubernetes.io/name": "other"}}), PASS),
        (budget("second", None), PASS),
        (budget("second", None, UNKNOWN), PASS),
        (budget("second", SELECTOR, UNKNOWN), UNDECIDED),
        (budget("second", UNKNOWN), UNDECIDED),
    ],
)
def test_a_pod_has_one_budget(second: Resource, expected: State) -> None:
    assert of("disruption-budget-satisfiable", "PodDisruptionBudget/api", edited(second=second)) is expected


def test_a_second_budget_is_named_beside_what_is_not_known() -> None:
    spoilt = edited(
        Edit("PodDisruptionBudget/api", ("spec", "maxUnavailable"), UNKNOWN), second=budget("second", SELECTOR)
    )
    found = result(judged(spoilt, rules=["disruption-budget-satisfiable"]), *SATISFIABLE)
    assert [str(each) for each in found.problems] == [
        f"spec.selector: PodDisruptionBudget/second selects the pods of Deployment/{name} too: "
        "the API server evicts no pod that has two budgets; allowed: one"
        for name in ("api", "scaled")
    ]


@pytest.mark.parametrize(
    ("replicas", "in_prod"), [(2, PASS), (1, VIOLATION), (0, VIOLATION), (MISSING, VIOLATION), (UNKNOWN, UNDECIDED)]
)
def test_a_stateful_set_needs_as_many_replicas_as_a_deployment(replicas: Any, in_prod: State) -> None:
    database = kubernetes("apps/v1:StatefulSet", "db", spec={"template": pod("db")})
    stack = edited(Edit(database.ref, ("spec", "replicas"), replicas), database=database)
    assert of("replicas", database.ref, stack) is in_prod
    assert of("replicas", database.ref, stack, stack="dev") is None


def test_a_scaled_stateful_set_is_counted_by_its_autoscaler() -> None:
    database = kubernetes("apps/v1:StatefulSet", "scaled", spec={"template": pod("db")})
    target = Edit("HorizontalPodAutoscaler/api", ("spec", "scaleTargetRef", "kind"), "StatefulSet")
    assert of("replicas", database.ref, edited(database=database)) is VIOLATION
    assert of("replicas", database.ref, edited(target, database=database)) is PASS


REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
OWN = {"labelSelector": SELECTOR, "topologyKey": "kubernetes.io/hostname"}
OTHERS = {**OWN, "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "other"}}}


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        ({REQUIRED: [OWN]}, PASS),
        ({REQUIRED: [OTHERS, OWN]}, PASS),
        ({PREFERRED: [{"weight": 1, "podAffinityTerm": OWN}]}, PASS),
        ({REQUIRED: [{"topologyKey": "kubernetes.io/hostname"}]}, VIOLATION),
        ({REQUIRED: [OTHERS]}, VIOLATION),
        ({PREFERRED: [{"weight": 1, "podAffinityTerm": OTHERS}]}, VIOLATION),
        ({REQUIRED: []}, VIOLATION),
        ({}, VIOLATION),
        pytest.param(MISSING, VIOLATION, id="missing"),
        (UNKNOWN, UNDECIDED),
        ({REQUIRED: UNKNOWN}, UNDECIDED),
        ({REQUIRED: [{**OWN, "labelSelector": UNKNOWN}]}, UNDECIDED),
        ({REQUIRED: [{**OWN, "labelSelector": UNKNOWN}, OWN]}, PASS),
    ],
    ids=str,
)
def test_an_anti_affinity_spreads_whom_it_takes(affinity: Any, expected: State) -> None:
    unspread = Edit(DEPLOYMENT, (*POD, "topologySpreadConstraints"), MISSING)
    apart = Edit(DEPLOYMENT, (*POD, "affinity", "podAntiAffinity"), affinity)
    assert of("topology-spread", DEPLOYMENT, edited(unspread, apart)) is expected


def test_either_way_of_spreading_is_enough() -> None:
    about_others = Edit(DEPLOYMENT, (*POD, "topologySpreadConstraints"), [{"labelSelector": OTHERS["labelSelector"]}])
    apart = Edit(DEPLOYMENT, (*POD, "affinity", "podAntiAffinity"), {REQUIRED: [OWN]})
    unknown = Edit(DEPLOYMENT, (*POD, "affinity"), UNKNOWN)
    assert of("topology-spread", DEPLOYMENT, edited(about_others)) is VIOLATION
    assert of("topology-spread", DEPLOYMENT, edited(about_others, apart)) is PASS
    assert of("topology-spread", DEPLOYMENT, edited(unknown)) is PASS
    assert of("topology-spread", DEPLOYMENT, edited(about_others, unknown)) is UNDECIDED


def test_an_autoscaler_and_fixed_replicas_exclude_each_other() -> None:
    spoilt = edited(Edit("Deployment/scaled", ("spec", "replicas"), 3))
    assert of("autoscaler-owns-replicas", "HorizontalPodAutoscaler/api", spoilt) is VIOLATION


@pytest.mark.parametrize(
    ("options", "annotations", "deadline", "expected"),
    [
        (Options(), {}, 599, PASS),
        (Options(), {}, 600, VIOLATION),
        (Options(), {"pulumi.com/timeoutSeconds": "120"}, 120, VIOLATION),
        (Options(), {"pulumi.com/timeoutSeconds": "121"}, 120, PASS),
        (Options(create_timeout_seconds=900.0, update_timeout_seconds=300.0), {}, 300, VIOLATION),
        (Options(create_timeout_seconds=900.0, update_timeout_seconds=900.0), {}, MISSING, PASS),
    ],
)
def test_the_progress_deadline_comes_before_the_engine_gives_up(
    options: Options, annotations: dict[str, str], deadline: Any, expected: State
) -> None:
    spoilt = edited(
        Edit(DEPLOYMENT, ("spec", "progressDeadlineSeconds"), deadline),
        Edit(DEPLOYMENT, ("metadata", "annotations"), annotations),
    )
    spoilt[DEPLOYMENT] = replace(spoilt[DEPLOYMENT], options=options)
    assert of("progress-deadline", DEPLOYMENT, spoilt) is expected
