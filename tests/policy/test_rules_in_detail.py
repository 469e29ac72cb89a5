"""What single rules make of the less usual: other kinds, sidecars, images, builds, objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policy.declaration import Options, Resource
from policy.judge import Judge
from policy.kinds import POD_TEMPLATES
from policy.model import Level, State
from policy.rules.images import _is_within
from policy.rules.objects import removal
from tests.policy.policy_examples import (
    APP,
    DIGEST,
    MISSING,
    REGISTRY,
    UNKNOWN,
    Edit,
    edited,
    good,
    image,
    judged,
    kubernetes,
    of,
    pod,
    result,
)

VIOLATION, PASS, UNDECIDED = State.VIOLATION, State.PASS, State.UNDECIDED
DEPLOYMENT = "Deployment/api"
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
GROUPS = {"CronJob": "batch/v1", "Job": "batch/v1", "Pod": "core/v1", "PodTemplate": "core/v1"} | {
    "ReplicationController": "core/v1"
}


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


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("default", VIOLATION),
        ("kube-system", VIOLATION),
        ("shop", PASS),
        (MISSING, None),
        ("", None),
        (UNKNOWN, UNDECIDED),
    ],
)
@pytest.mark.parametrize("token", ["argoproj.io/v1alpha1:Rollout", "resource.k8s.io/v1:ResourceClaim"])
def test_a_kind_that_only_may_have_a_namespace_is_evaluated_where_it_names_one(
    token: str, namespace: Any, expected: State | None
) -> None:
    rollout = kubernetes(token, "x", metadata={"name": "x", "labels": {}})
    resources = Edit(rollout.ref, ("metadata", "namespace"), namespace).done({rollout.ref: rollout})
    assert of("own-namespace", rollout.ref, resources) is expected


def test_objects_of_other_groups_are_left_alone() -> None:
    rollout = Resource("kubernetes:argoproj.io/v1alpha1:Deployment", "x", {"spec": {"template": {}}})
    assert judged({rollout.ref: rollout}).results == ()


@pytest.mark.parametrize(
    ("kind", "evaluated"), [("Job", False), ("CronJob", False), ("DaemonSet", True), ("Pod", True)]
)
def test_probes_are_required_of_what_keeps_running(kind: str, evaluated: bool) -> None:
    path = POD_TEMPLATES[kind]
    found = kubernetes(f"{GROUPS.get(kind, 'apps/v1')}:{kind}", "odd", **(within(path, pod()) if path else pod()))
    assert (of("liveness-probe", found.ref, {found.ref: found}) is PASS) is evaluated


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


@pytest.mark.parametrize(("policy", "expected"), [("Always", VIOLATION), ("OnFailure", PASS)])
def test_a_sidecar_starts_within_the_deadline_and_needs_no_pause_before_it_stops(policy: str, expected: State) -> None:
    slow = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 10, "failureThreshold": 60}
    container = good()[DEPLOYMENT].inputs["spec"]["template"]["spec"]["containers"][0]
    sidecar = {**container, "name": "proxy", "restartPolicy": policy, "startupProbe": slow, "lifecycle": {}}
    stack = edited(Edit(DEPLOYMENT, (*POD, "initContainers"), [sidecar]))
    report = judged(stack, rules=["startup-within-deadline", "pre-stop"])
    assert result(report, "startup-within-deadline", DEPLOYMENT).state is expected
    assert result(report, "pre-stop", DEPLOYMENT).state is PASS


@pytest.mark.parametrize(
    ("volume", "expected"),
    [({"persistentVolumeClaim": {"claimName": "data"}}, PASS), ({"emptyDir": {}}, VIOLATION)],
)
def test_one_pod_is_enough_where_it_alone_may_have_its_claim(volume: dict[str, Any], expected: State) -> None:
    stack = edited(
        Edit(DEPLOYMENT, ("spec", "replicas"), 1),
        Edit(DEPLOYMENT, ("spec", "strategy"), {"type": "Recreate"}),
        Edit(DEPLOYMENT, (*POD, "volumes"), [{"name": "data", **volume}]),
    )
    report = judged(stack, rules=["replicas", "max-unavailable-zero"])
    assert result(report, "replicas", DEPLOYMENT).state is expected
    assert result(report, "max-unavailable-zero", DEPLOYMENT).state is expected


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


NAMED = {"location": "services/api", "named": {"kit": {"location": "services/kit"}}}


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ([], "there is no Image `api-test`"),
        ([image("api-test", "runtime")], "the target of the unit tests is `runtime`"),
        ([image("api-test", "test", context={"location": "elsewhere"})], "the same context"),
        ([image("api-test", "test", dockerfile={"location": "other/Dockerfile"})], "the same dockerfile"),
        ([image("api-test", "test", context=NAMED)], "other named contexts than its test"),
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


@pytest.mark.parametrize(("said", "expected"), [("none", PASS), ("no", VIOLATION), (MISSING, VIOLATION)])
def test_an_image_may_say_that_it_has_no_unit_tests(said: Any, expected: State) -> None:
    resources = {ref: each for ref, each in good().items() if ref != "Image/api-test"}
    labels = {} if said is MISSING else {"slipway.dev/unit-tests": said}
    resources["Image/api"] = replace(resources["Image/api"], inputs={**resources["Image/api"].inputs, "labels": labels})
    assert of("unit-tests-first", "Image/api", resources) is expected
    assert of("unit-tests-exist", "Image/api", resources) is (VIOLATION if expected is PASS else PASS)


@pytest.mark.parametrize(
    ("said", "named", "expected"),
    [
        ("stage test", "kit", PASS),
        ("stage runtime", "kit", VIOLATION),
        ("stage ", "kit", VIOLATION),
        ("test", "kit", VIOLATION),
        ("stage test", "test", VIOLATION),
        ("stage test", "runtime", VIOLATION),
    ],
)
def test_an_image_may_say_in_which_stage_its_unit_tests_are(said: str, named: str, expected: State) -> None:
    resources = {ref: each for ref, each in good().items() if ref != "Image/api-test"}
    context = {"location": "services/api", "named": {named: {"location": "services/kit"}}}
    more = {"labels": {"slipway.dev/unit-tests": said}, "context": context}
    resources["Image/api"] = replace(resources["Image/api"], inputs={**resources["Image/api"].inputs, **more})
    assert of("unit-tests-first", "Image/api", resources) is expected
    assert of("unit-tests-exist", "Image/api", resources) is PASS


@pytest.mark.parametrize(("name", "expected"), [("kit", PASS), ("test", VIOLATION), ("runtime", VIOLATION)])
def test_no_named_context_takes_the_place_of_the_tests(name: str, expected: State) -> None:
    context = {"location": "services/api", "named": {name: {"location": "services/kit"}}}
    resources = dict(good())
    for ref in ("Image/api", "Image/api-test"):
        resources[ref] = replace(resources[ref], inputs={**resources[ref].inputs, "context": context})
    assert of("unit-tests-first", "Image/api", resources) is expected


def test_an_image_that_is_not_pushed_needs_no_test() -> None:
    assert of("unit-tests-first", "Image/api-test", good()) is PASS


# --- objects ---


@pytest.mark.parametrize(
    ("default", "expected"), [(None, VIOLATION), ("default", VIOLATION), ("shop", PASS), (UNKNOWN, UNDECIDED)]
)
def test_the_namespace_may_be_the_providers(default: Any, expected: State) -> None:
    spoilt = edited(Edit("ConfigMap/api", ("metadata", "namespace"), MISSING))
    spoilt["ConfigMap/api"] = replace(spoilt["ConfigMap/api"], options=Options(default_namespace=default))
    assert of("own-namespace", "ConfigMap/api", spoilt) is expected


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


@pytest.mark.parametrize(
    "token",
    [
        *("pulumi-python:dynamic:Resource", "pulumi-nodejs:dynamic:Resource", "pulumi-python:dynamic/seed:Table"),
        *("command:local:Command", "command:remote:Command", "command:remote:CopyToRemote"),
    ],
)
def test_what_runs_code_of_its_own_is_refused(token: str) -> None:
    code = Resource(token, "x", {"create": "psql -f seed.sql"})
    assert of("restorable", code.ref, {code.ref: code}) is VIOLATION


@pytest.mark.parametrize("token", ["random:index/randomPassword:RandomPassword", "pulumi:pulumi:StackReference"])
def test_what_keeps_what_it_is_declared_as_is_allowed(token: str) -> None:
    judged = Judge.of("dev", {}, {}).evaluate([Resource(token, "x", {})])
    assert "restorable" not in {each.rule.id for each in judged.results}


def test_a_stateful_set_is_protected_and_so_is_its_namespace() -> None:
    template = {**pod(), "metadata": {"labels": APP}}
    database = kubernetes("apps/v1:StatefulSet", "db", options=Options(), spec={"template": template})
    resources = edited(database=database)
    resources["Namespace/shop"] = replace(resources["Namespace/shop"], options=Options())
    assert of("stateful-protected", "StatefulSet/db", resources) is VIOLATION
    assert of("stateful-namespace-protected", "Namespace/shop", resources) is VIOLATION
    resources["StatefulSet/db"] = replace(database, options=Options(protect=True))
    assert of("stateful-protected", "StatefulSet/db", resources) is PASS
