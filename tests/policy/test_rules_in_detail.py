"""What single rules make of the less usual: other kinds, sidecars, exposure, budgets, builds, unknown neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_examples import (
    APP,
    DIGEST,
    MISSING,
    REGISTRY,
    SELECTOR,
    UNKNOWN,
    Edit,
    good,
    image,
    judged,
    kubernetes,
    pod,
    result,
    state,
)

from policy.declaration import Options, Resource
from policy.kinds import POD_TEMPLATES
from policy.model import Level, State
from policy.removed_apis import removal
from policy.rules.images import _is_within

VIOLATION, PASS, UNDECIDED = State.VIOLATION, State.PASS, State.UNDECIDED
DEPLOYMENT = "Deployment/api"
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
GROUPS = {"CronJob": "batch/v1", "Job": "batch/v1", "Pod": "core/v1", "PodTemplate": "core/v1"} | {
    "ReplicationController": "core/v1"
}


def edited(*edits: Edit, **more: Resource) -> dict[str, Resource]:
    resources = good() | {each.ref: each for each in more.values()}
    for edit in edits:
        resources = edit.done(resources)
    return resources


def of(rule: str, resource: str, resources: dict[str, Resource], stack: str = "prod") -> State | None:
    return state(judged(resources, stack=stack, rules=[rule]), rule, resource)


def within(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize("kind", POD_TEMPLATES)
def test_pods_are_found_in_every_kind_that_has_them(kind: str) -> None:
    template = pod()
    template["spec"]["containers"][0]["image"] = "api:1.0"
    template["spec"]["initContainers"] = [{"name": "first", "image": f"{REGISTRY}/first:2"}]
    inputs = within(POD_TEMPLATES[kind], template) if POD_TEMPLATES[kind] else template
    inputs.pop("metadata", None) if kind != "Pod" else None
    found = kubernetes(f"{GROUPS.get(kind, 'apps/v1')}:{kind}", "odd", **inputs)
    report = judged({found.ref: found}, rules=["image-by-digest"])
    assert len(result(report, "image-by-digest", f"{kind}/odd").problems) == 2


def test_objects_of_other_groups_are_left_alone() -> None:
    rollout = Resource("kubernetes:argoproj.io/v1alpha1:Deployment", "x", {"spec": {"template": {}}})
    assert judged({rollout.ref: rollout}).results == ()


@pytest.mark.parametrize(("kind", "asked"), [("Job", False), ("CronJob", False), ("DaemonSet", True), ("Pod", True)])
def test_probes_are_asked_of_what_keeps_running(kind: str, asked: bool) -> None:
    path = POD_TEMPLATES[kind]
    found = kubernetes(f"{GROUPS.get(kind, 'apps/v1')}:{kind}", "odd", **(within(path, pod()) if path else pod()))
    assert (of("liveness-probe", found.ref, {found.ref: found}) is PASS) is asked


@pytest.mark.parametrize(
    ("policy", "expected"), [("Never", None), ("OnFailure", None), ("Always", VIOLATION), (UNKNOWN, UNDECIDED)]
)
def test_a_bare_pod_and_its_restart_policy(policy: Any, expected: State | None) -> None:
    found = kubernetes("core/v1:Pod", "odd", spec={"restartPolicy": policy, "containers": [{"name": "x"}]})
    assert of("liveness-probe", found.ref, {found.ref: found}) is expected


@pytest.mark.parametrize(
    ("policy", "expected"), [(MISSING, PASS), ("Always", VIOLATION), ("OnFailure", PASS), (UNKNOWN, UNDECIDED)]
)
def test_a_sidecar_is_probed_and_an_init_container_is_not(policy: Any, expected: State) -> None:
    first = {"name": "first"} if policy is MISSING else {"name": "first", "restartPolicy": policy}
    assert of("liveness-probe", DEPLOYMENT, edited(Edit(DEPLOYMENT, (*POD, "initContainers"), [first]))) is expected


def test_what_is_found_before_the_unknown_counts() -> None:
    second = {"name": "second", "image": UNKNOWN}
    spoilt = edited(
        Edit(DEPLOYMENT, (*CONTAINER, "image"), "api:1"),
        Edit(DEPLOYMENT, (*POD, "containers", 0, "name"), "first"),
    )
    containers = [*spoilt[DEPLOYMENT].inputs["spec"]["template"]["spec"]["containers"], second]
    spoilt = Edit(DEPLOYMENT, (*POD, "containers"), containers).done(spoilt)
    found = result(judged(spoilt, rules=["image-by-digest"]), "image-by-digest", DEPLOYMENT)
    assert found.state is VIOLATION
    assert [problem.path for problem in found.problems] == ["spec.template.spec.containers[0].image"]


# --- levels ---


@pytest.mark.parametrize(
    ("rule", "edit", "in_dev"),
    [
        ("replicas", Edit(DEPLOYMENT, ("spec", "replicas"), 1), None),
        ("ingress-tls", Edit("Ingress/api", ("spec", "tls"), MISSING), None),
        ("topology-spread", Edit(DEPLOYMENT, (*POD, "topologySpreadConstraints"), MISSING), Level.ADVISORY),
        ("liveness-probe", Edit(DEPLOYMENT, (*CONTAINER, "livenessProbe"), MISSING), Level.MANDATORY),
    ],
)
def test_levels_differ_by_environment(rule: str, edit: Edit, in_dev: Level | None) -> None:
    (prod,) = judged(edited(edit), rules=[rule]).of(VIOLATION)
    assert prod.level is Level.MANDATORY
    dev = judged(edited(edit), stack="dev", rules=[rule]).of(VIOLATION)
    assert [each.level for each in dev] == ([in_dev] if in_dev else [])
    assert [each.refuses for each in dev] == ([in_dev is Level.MANDATORY] if in_dev else [])


# --- images and builds ---


@pytest.mark.parametrize(
    ("reference", "registry", "expected"),
    [
        (f"registry.example/team/api@{DIGEST}", "registry.example", True),
        (f"registry.example/team/api@{DIGEST}", "registry.example/team", True),
        (f"registry.example/team/api@{DIGEST}", "registry.example/team/", True),
        (f"registry.example/teamster/api@{DIGEST}", "registry.example/team", False),
        (f"registry.example.evil/team/api@{DIGEST}", "registry.example", False),
        (f"127.0.0.1:5000/api@{DIGEST}", "127.0.0.1:5000", True),
        ("nginx", "docker.io", True),
        ("nginx", "docker.io/library", True),
        ("bitnami/nginx", "docker.io/bitnami", True),
        ("bitnami/nginx", "registry.example", False),
    ],
)
def test_an_image_is_within_a_registry_by_whole_path_parts(reference: str, registry: str, expected: bool) -> None:
    assert _is_within(reference, registry) is expected


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ([], "there is no Image `api-test`"),
        ([image("api-test", "runtime")], "builds target `runtime`"),
        ([image("api-test", "test", context={"location": "elsewhere"})], "the same context"),
        ([replace(image("api-test", "test"), urn="urn:another")], "does not depend on Image `api-test`"),
    ],
)
def test_a_pushed_image_is_tested_first(tests: list[Resource], words: str) -> None:
    resources = {ref: each for ref, each in good().items() if ref != "Image/api-test"} | {
        each.ref: each for each in tests
    }
    found = result(judged(resources, rules=["unit-tests-first"]), "unit-tests-first", "Image/api")
    assert found.state is VIOLATION
    assert words in str(found.problems)


def test_an_image_that_is_not_pushed_needs_no_test() -> None:
    assert of("unit-tests-first", "Image/api-test", good()) is PASS


# --- availability ---


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
        ({"minAvailable": UNKNOWN}, UNDECIDED),
    ],
)
def test_a_budget_lets_a_pod_go(budget: dict[str, Any], expected: State) -> None:
    spoilt = edited(Edit("PodDisruptionBudget/api", ("spec",), {"selector": SELECTOR, **budget}))
    assert of("disruption-budget-satisfiable", "PodDisruptionBudget/api", spoilt) is expected


def test_a_budget_in_another_namespace_does_not_count() -> None:
    spoilt = edited(Edit("PodDisruptionBudget/api", ("metadata", "namespace"), "elsewhere"))
    assert of("disruption-budget", DEPLOYMENT, spoilt) is VIOLATION
    assert of("disruption-budget-satisfiable", "PodDisruptionBudget/api", spoilt) is VIOLATION


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


@pytest.mark.parametrize(
    ("path", "failures", "expected"), [("/readyz", 4, PASS), ("/readyz", 3, VIOLATION), ("/healthz", 3, PASS)]
)
def test_the_same_question_for_liveness_needs_more_patience(path: str, failures: int, expected: State) -> None:
    # https://kubernetes.io/docs/concepts/workloads/pods/probes: the same path with a higher failureThreshold is common
    live = {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 10, "failureThreshold": failures}
    assert of("liveness-differs", DEPLOYMENT, edited(Edit(DEPLOYMENT, (*CONTAINER, "livenessProbe"), live))) is expected


# --- network ---


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_exposure_is_declared_by_a_network_policy_that_opens_the_pods(kind: str) -> None:
    exposed = Edit("Service/api", ("spec", "type"), kind)
    from_neighbours = [{"from": [{"podSelector": SELECTOR}], "ports": [{"port": 8080}]}]
    closed = Edit("NetworkPolicy/api", ("spec", "ingress"), from_neighbours)
    unknown = Edit("NetworkPolicy/api", ("spec", "ingress"), UNKNOWN)
    assert of("exposure-declared", "Service/api", edited(exposed)) is PASS
    assert of("exposure-declared", "Service/api", edited(exposed, closed)) is VIOLATION
    assert of("exposure-declared", "Service/api", edited(exposed, unknown)) is UNDECIDED
    assert of("exposure-declared", "Service/api", edited(closed)) is PASS


def test_two_policies_may_close_a_pod_together() -> None:
    inward = Edit("NetworkPolicy/api", ("spec", "policyTypes"), ["Ingress"])
    assert of("network-policy", DEPLOYMENT, edited(inward)) is VIOLATION
    outward = kubernetes(
        "networking.k8s.io/v1:NetworkPolicy", "outward", spec={"podSelector": {}, "policyTypes": ["Egress"]}
    )
    assert of("network-policy", DEPLOYMENT, edited(inward, outward=outward)) is PASS
    assert (
        of("network-policy", DEPLOYMENT, edited(Edit("NetworkPolicy/api", ("spec", "podSelector"), UNKNOWN)))
        is UNDECIDED
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"operator": "In", "values": ["api", "other"]}, PASS),
        ({"operator": "In", "values": ["other"]}, VIOLATION),
        ({"operator": "NotIn", "values": ["other"]}, PASS),
        ({"operator": "NotIn", "values": ["api"]}, VIOLATION),
        ({"operator": "Exists"}, PASS),
        ({"operator": "DoesNotExist"}, VIOLATION),
        ({"operator": "Guess"}, VIOLATION),
        ({"operator": "In", "values": [UNKNOWN]}, UNDECIDED),
    ],
)
def test_selectors_by_expression(expression: dict[str, Any], expected: State) -> None:
    selector = {"matchExpressions": [{"key": "app.kubernetes.io/name", **expression}]}
    assert (
        of("network-policy", DEPLOYMENT, edited(Edit("NetworkPolicy/api", ("spec", "podSelector"), selector)))
        is expected
    )
    assert of("selector-matches-pods", DEPLOYMENT, edited(Edit(DEPLOYMENT, ("spec", "selector"), selector))) is expected


def test_a_service_with_unknown_neighbours_is_decided_at_update() -> None:
    spoilt = edited(
        Edit("Service/api", ("spec", "selector"), {"app": "other"}),
        Edit(DEPLOYMENT, ("spec", "template", "metadata", "labels"), UNKNOWN),
    )
    assert of("service-selects-pods", "Service/api", spoilt) is UNDECIDED


def test_an_external_name_has_no_pods() -> None:
    spoilt = edited(Edit("Service/api", ("spec",), {"type": "ExternalName", "externalName": "db.example"}))
    assert of("service-selects-pods", "Service/api", spoilt) is PASS
    assert of("service-port", "Service/api", spoilt) is PASS


@pytest.mark.parametrize(
    ("default", "expected"), [(None, VIOLATION), ("default", VIOLATION), ("shop", PASS), (UNKNOWN, UNDECIDED)]
)
def test_the_namespace_may_be_the_providers(default: Any, expected: State) -> None:
    spoilt = edited(Edit("ConfigMap/api", ("metadata", "namespace"), MISSING))
    spoilt["ConfigMap/api"] = replace(spoilt["ConfigMap/api"], options=Options(default_namespace=default))
    assert of("own-namespace", "ConfigMap/api", spoilt) is expected


# --- objects ---


@pytest.mark.parametrize(
    ("api", "kind", "instead"),
    [
        ("extensions/v1beta1", "Ingress", "networking.k8s.io/v1"),
        ("extensions/v1beta1", "Deployment", "apps/v1, networking.k8s.io/v1"),
        ("batch/v1beta1", "CronJob", "batch/v1"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "autoscaling/v2"),
        ("batch/v1", "CronJob", None),
        ("networking.k8s.io/v1beta1", "IPAddress", None),
    ],
)
def test_removed_apis(api: str, kind: str, instead: str | None) -> None:
    found = removal(*api.split("/"), kind)  # type: ignore[call-arg]
    assert (found.instead if found else None) == instead


@pytest.mark.parametrize(
    "token", ["kubernetes:helm.sh/v3:Release", "kubernetes:apps/v1:DeploymentPatch", "kubernetes:core/v1:ConfigMapList"]
)
def test_what_hides_objects_is_refused(token: str) -> None:
    hidden = Resource(token, "x", {"metadata": {"labels": {}}})
    assert of("objects-visible", hidden.ref, {hidden.ref: hidden}) is VIOLATION


def test_a_stateful_set_is_protected_and_so_is_its_namespace() -> None:
    template = {**pod(), "metadata": {"labels": APP}}
    database = kubernetes("apps/v1:StatefulSet", "db", options=Options(), spec={"template": template})
    resources = edited(database=database)
    resources["Namespace/shop"] = replace(resources["Namespace/shop"], options=Options())
    assert of("stateful-protected", "StatefulSet/db", resources) is VIOLATION
    assert of("stateful-namespace-protected", "Namespace/shop", resources) is VIOLATION
    resources["StatefulSet/db"] = replace(database, options=Options(protect=True))
    assert of("stateful-protected", "StatefulSet/db", resources) is PASS
