"""What a rule could easily overlook: the second place that a thing may stand in, and what stands beside an unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policy.declaration import Resource
from policy.kinds import OTHER_IMAGES
from policy.model import State
from tests.policy.policy_examples import (
    DIGEST,
    MISSING,
    REGISTRY,
    UNKNOWN,
    Edit,
    good,
    image,
    judged,
    kubernetes,
    result,
    state,
)

VIOLATION, PASS, UNDECIDED = State.VIOLATION, State.PASS, State.UNDECIDED
DEPLOYMENT = "Deployment/api"
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
TOKEN = "serviceAccountToken"
ANNOTATIONS = ("spec", "template", "metadata", "annotations")
SECRET = "AKIA" + "ABCDEFGHIJKLMNOP"
PUSHED_BY_EXPORT = [
    {"registry": {"names": [f"{REGISTRY}/api:1"]}},
    {"image": {"names": [f"{REGISTRY}/api:1"], "push": True}},
    {"raw": f"type=registry,name={REGISTRY}/api:1"},
    {"raw": f"type=image,name={REGISTRY}/api:1,push=true"},
]
KEPT_AT_HOME = [
    {"cacheonly": {}},
    {"image": {"names": [f"{REGISTRY}/api:1"]}},
    {"registry": {"names": [f"{REGISTRY}/api:1"]}, "disabled": True},
]


def of(rule: str, resource: str, *edits: Edit) -> State | None:
    resources = good()
    for edit in edits:
        resources = edit.done(resources)
    return state(judged(resources, rules=[rule]), rule, resource)


# --- an unknown hides nothing but itself ---


@pytest.mark.parametrize(
    ("rule", "resource", "path", "value"),
    [
        (
            "no-secret-in-env",
            DEPLOYMENT,
            (*CONTAINER, "env"),
            [{"name": "HOST", "value": UNKNOWN}, {"name": "A", "value": SECRET}],
        ),
        ("no-secret-in-config-map", "ConfigMap/api", ("data",), {"HOST": UNKNOWN, "A": SECRET}),
        ("no-secret-in-build", "Image/api", ("buildArgs",), {"HOST": UNKNOWN, "A": SECRET}),
        ("base-image-by-digest", "Image/api", ("buildArgs",), {"BASE_IMAGE": UNKNOWN, "OTHER_IMAGE": "python:3"}),
        ("pod-security-host-path", DEPLOYMENT, (*POD, "volumes"), [UNKNOWN, {"hostPath": {"path": "/"}}]),
        ("pod-security-volume-types", DEPLOYMENT, (*POD, "volumes"), [UNKNOWN, {"nfs": {"server": "nfs.example"}}]),
        (
            "pod-security-capabilities",
            DEPLOYMENT,
            (*CONTAINER, "securityContext", "capabilities"),
            {"drop": UNKNOWN, "add": ["SYS_ADMIN"]},
        ),
        (
            "pod-security-non-root",
            DEPLOYMENT,
            (*POD, "initContainers"),
            [UNKNOWN, {"name": "x", "securityContext": {"runAsNonRoot": False}}],
        ),
        (
            "pod-security-seccomp",
            DEPLOYMENT,
            (*POD, "initContainers"),
            [UNKNOWN, {"name": "x", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}],
        ),
        (
            "high-user-id",
            DEPLOYMENT,
            (*POD, "initContainers"),
            [UNKNOWN, {"name": "x", "securityContext": {"runAsUser": 1}}],
        ),
    ],
)
def test_what_is_found_beside_an_unknown_counts(rule: str, resource: str, path: tuple[str, ...], value: Any) -> None:
    assert of(rule, resource, Edit(resource, path, value)) is VIOLATION


def test_annotations_of_others_decide_nothing_about_app_armor() -> None:
    rule = "pod-security-app-armor-annotation"
    assert of(rule, DEPLOYMENT, Edit(DEPLOYMENT, ANNOTATIONS, {"checksum/config": UNKNOWN})) is PASS


# --- Pod Security ---


@pytest.mark.parametrize(("of_pod", "expected"), [(False, VIOLATION), (MISSING, PASS), (True, PASS)])
def test_the_pod_may_not_allow_root_even_where_its_containers_forbid_it(of_pod: Any, expected: State) -> None:
    # "pod must not set securityContext.runAsNonRoot=false": k8s.io/pod-security-admission, check_runAsNonRoot.go
    assert (
        of(
            "pod-security-non-root",
            DEPLOYMENT,
            Edit(DEPLOYMENT, (*POD, "securityContext", "runAsNonRoot"), of_pod),
            Edit(DEPLOYMENT, (*CONTAINER, "securityContext", "runAsNonRoot"), True),
        )
        is expected
    )


@pytest.mark.parametrize(("system", "evaluated"), [("windows", False), ("linux", True), (UNKNOWN, True)])
@pytest.mark.parametrize(
    "rule",
    [
        "pod-security-capabilities",
        "pod-security-seccomp",
        "pod-security-privilege-escalation",
        "high-user-id",
        "read-only-root",
    ],
)
def test_what_linux_alone_knows_does_not_apply_to_windows(rule: str, system: Any, evaluated: bool) -> None:
    edits = [
        Edit(DEPLOYMENT, (*POD, "os"), {"name": system}),
        Edit(DEPLOYMENT, (*POD, "securityContext"), {"runAsNonRoot": True}),
        Edit(DEPLOYMENT, (*CONTAINER, "securityContext"), MISSING),
    ]
    assert of(rule, DEPLOYMENT, *edits) is (VIOLATION if evaluated else None)
    assert of("pod-security-non-root", DEPLOYMENT, *edits) is PASS


# --- tokens ---


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        (MISSING, VIOLATION),
        ("", VIOLATION),
        ("https://kubernetes.default.svc", VIOLATION),
        ("https://kubernetes.default.svc.cluster.local", VIOLATION),
        ("HTTPS://kubernetes.default:443/", VIOLATION),
        ("kubernetes.default", VIOLATION),
        ("kubernetes.default.svc", VIOLATION),
        ("kubernetes.default-vault", PASS),
        ("https://vault/kubernetes.default", PASS),
        ("vault", PASS),
        (UNKNOWN, UNDECIDED),
    ],
)
def test_a_projected_volume_may_bring_the_token_back(audience: Any, expected: State) -> None:
    token = {"path": "token"} if audience is MISSING else {"path": "token", "audience": audience}
    volume = {"name": "projected", "projected": {"sources": [{"configMap": {"name": "api"}}, {TOKEN: token}]}}
    assert of("no-token", DEPLOYMENT, Edit(DEPLOYMENT, (*POD, "volumes"), [volume])) is expected


def test_what_else_is_projected_is_no_token() -> None:
    volume = {"name": "projected", "projected": {"sources": [{"configMap": {"name": "api"}}]}}
    assert of("no-token", DEPLOYMENT, Edit(DEPLOYMENT, (*POD, "volumes"), [volume])) is PASS


# --- images ---


@pytest.mark.parametrize(
    ("reference", "by_digest", "registry"),
    [
        (f"{REGISTRY}/model@{DIGEST}", PASS, PASS),
        (f"{REGISTRY}/model:1", VIOLATION, PASS),
        (f"evil.example/model@{DIGEST}", PASS, VIOLATION),
        (UNKNOWN, UNDECIDED, UNDECIDED),
    ],
)
def test_an_image_that_is_mounted_is_an_image(reference: Any, by_digest: State, registry: State) -> None:
    edit = Edit(DEPLOYMENT, (*POD, "volumes"), [{"name": "model", "image": {"reference": reference}}])
    assert of("image-by-digest", DEPLOYMENT, edit) is by_digest
    assert of("image-registry", DEPLOYMENT, edit) is registry


def test_a_mounted_image_is_called_a_volume() -> None:
    spoilt = Edit(DEPLOYMENT, (*POD, "volumes"), [{"name": "model", "image": {"reference": "model:1"}}]).done(good())
    (problem,) = result(judged(spoilt, rules=["image-by-digest"]), "image-by-digest", DEPLOYMENT).problems
    assert str(problem).startswith("spec.template.spec.volumes[0].image.reference: volume `model` has image `model:1`")


# --- builds ---


def exported(ways: list[Any], **more: Any) -> dict[str, Resource]:
    """A build that nothing tests, and what it exports."""
    build = image("alone", "runtime", exports=ways, **more)
    return {build.ref: build}


@pytest.mark.parametrize("way", PUSHED_BY_EXPORT, ids=str)
def test_an_export_pushes_as_well_as_push_does(way: dict[str, Any]) -> None:
    assert state(judged(exported([way]), rules=["unit-tests-first"]), "unit-tests-first", "Image/alone") is VIOLATION


@pytest.mark.parametrize("way", KEPT_AT_HOME, ids=str)
def test_other_exports_push_nothing(way: dict[str, Any]) -> None:
    assert state(judged(exported([way]), rules=["unit-tests-first"]), "unit-tests-first", "Image/alone") is PASS


def test_an_image_that_is_not_pushed_needs_no_label_that_speaks_of_tests() -> None:
    resources = exported([KEPT_AT_HOME[0]], labels=UNKNOWN)
    assert state(judged(resources, rules=["unit-tests-first"]), "unit-tests-first", "Image/alone") is PASS


def test_an_unknown_export_is_decided_at_update() -> None:
    found = state(judged(exported([UNKNOWN]), rules=["unit-tests-first"]), "unit-tests-first", "Image/alone")
    assert found is UNDECIDED


@pytest.mark.parametrize(
    ("ways", "tags", "expected"),
    [
        ([PUSHED_BY_EXPORT[0]], None, PASS),
        ([{"registry": {"names": [f"{REGISTRY}/api:latest"]}}], None, VIOLATION),
        ([{"registry": {}}], None, VIOLATION),
        ([{"registry": {"names": [f"{REGISTRY}/api:latest"]}}], [f"{REGISTRY}/api:1"], PASS),
    ],
)
def test_an_exported_image_has_a_tag_of_its_own(ways: list[Any], tags: list[str] | None, expected: State) -> None:
    report = judged(exported(ways, tags=tags), rules=["image-tag-fixed"])
    assert state(report, "image-tag-fixed", "Image/alone") is expected


@pytest.mark.parametrize("type_", OTHER_IMAGES)
def test_no_other_provider_pushes_past_the_tests(type_: str) -> None:
    other = Resource(type_, "api", {"imageName": f"{REGISTRY}/api:1"})
    local = replace(other, inputs={**other.inputs, "skipPush": True})
    assert state(judged({"": other}, rules=["unit-tests-first"]), "unit-tests-first", other.ref) is VIOLATION
    assert state(judged({"": local}, rules=["unit-tests-first"]), "unit-tests-first", other.ref) is PASS


# --- RBAC ---


def test_a_role_that_is_made_of_others_names_nothing() -> None:
    selectors = [{"matchLabels": {"rbac.example/aggregate": "true"}}]
    role = kubernetes("rbac.authorization.k8s.io/v1:ClusterRole", aggregationRule={"clusterRoleSelectors": selectors})
    assert state(judged({role.ref: role}, rules=["rbac-no-wildcards"]), "rbac-no-wildcards", role.ref) is VIOLATION


# --- network ---


def test_an_ingress_of_a_default_backend_alone_needs_tls() -> None:
    backend = {"service": {"name": "api", "port": {"name": "http"}}}
    plain = {"defaultBackend": backend}
    assert of("ingress-tls", "Ingress/api", Edit("Ingress/api", ("spec",), plain)) is VIOLATION
    with_tls = {**plain, "tls": [{"secretName": "shop-tls"}]}
    assert of("ingress-tls", "Ingress/api", Edit("Ingress/api", ("spec",), with_tls)) is PASS


@pytest.mark.parametrize(("address", "expected"), [("None", PASS), (MISSING, VIOLATION), (UNKNOWN, UNDECIDED)])
def test_a_headless_service_needs_no_port(address: Any, expected: State) -> None:
    edits = Edit("Service/api", ("spec", "ports"), MISSING), Edit("Service/api", ("spec", "clusterIP"), address)
    assert of("service-port", "Service/api", *edits) is expected
