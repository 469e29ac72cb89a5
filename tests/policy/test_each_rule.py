"""Every rule, met and broken: compliant, violating, property missing, value unknown, waived."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from policy.declaration import Options, Resource
from policy.judge import Report
from policy.model import State
from tests.policy.policy_examples import (
    MISSING,
    REGISTRY,
    RULES,
    UNKNOWN,
    Edit,
    good,
    judged,
    kubernetes,
    result,
    state,
)

VIOLATION, PASS, UNDECIDED, WAIVED = State.VIOLATION, State.PASS, State.UNDECIDED, State.WAIVED
DEPLOYMENT = "Deployment/api"
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
JOB = ("spec", "jobTemplate", "spec")
SECURITY = (*CONTAINER, "securityContext")
AWS_KEY = "AKIA" + "ABCDEFGHIJKLMNOP"


@dataclass(frozen=True)
class Case:
    """A property of a resource, a value that breaks the rule, and what it means when the property is missing."""

    rule: str
    resource: str
    path: tuple[str | int, ...]
    bad: Any
    missing: State

    def __str__(self) -> str:
        return f"{self.rule}-{'.'.join(map(str, self.path))}"


CASES = [
    Case("image-by-digest", DEPLOYMENT, (*CONTAINER, "image"), f"{REGISTRY}/api:1.0", VIOLATION),
    Case("image-registry", DEPLOYMENT, (*CONTAINER, "image"), "evil.example/api@sha256:" + "a" * 64, PASS),
    Case("image-registry", DEPLOYMENT, (*CONTAINER, "image"), f"{REGISTRY}-evil/api", PASS),
    Case("base-image-by-digest", "Image/api", ("buildArgs", "BASE_IMAGE"), "python:3.12-slim", PASS),
    Case("image-tag-fixed", "Image/api", ("tags",), [f"{REGISTRY}/api:latest"], VIOLATION),
    Case("image-tag-fixed", "Image/api", ("tags", 0), f"{REGISTRY}/api", VIOLATION),
    Case("unit-tests-first", "Image/api", ("context", "location"), "services/other", VIOLATION),
    Case("unit-tests-first", "Image/api", ("dockerfile", "location"), "services/other/Dockerfile", PASS),
    Case("unit-tests-exist", "Image/api", ("labels",), {"slipway.dev/unit-tests": "none"}, PASS),
    Case("promoted-image-tested", "ServiceImage/promoted", ("promotedFrom", "environment"), "", VIOLATION),
    Case("promoted-image-tested", "ServiceImage/promoted", ("promotedFrom", "update"), 0, VIOLATION),
    Case("promoted-image-tested", "ServiceImage/promoted", ("promotedFrom", "update"), "12", VIOLATION),
    Case("requests-set", DEPLOYMENT, (*CONTAINER, "resources", "requests", "cpu"), "0", VIOLATION),
    Case("requests-set", DEPLOYMENT, (*CONTAINER, "resources", "requests", "memory"), "much", VIOLATION),
    Case("memory-limit", DEPLOYMENT, (*CONTAINER, "resources", "limits", "memory"), "64Mi", VIOLATION),
    Case("ephemeral-storage", DEPLOYMENT, (*CONTAINER, "resources", "limits", "ephemeral-storage"), "1", VIOLATION),
    Case("startup-probe", DEPLOYMENT, (*CONTAINER, "startupProbe"), {"periodSeconds": 1}, VIOLATION),
    Case("readiness-probe", DEPLOYMENT, (*CONTAINER, "readinessProbe"), {"periodSeconds": 1}, VIOLATION),
    Case("liveness-probe", DEPLOYMENT, (*CONTAINER, "livenessProbe"), {"periodSeconds": 1}, VIOLATION),
    Case(
        "liveness-differs",
        DEPLOYMENT,
        (*CONTAINER, "livenessProbe"),
        {"httpGet": {"path": "/readyz", "port": "http"}},
        PASS,
    ),
    Case("worker-liveness", "Deployment/worker", (*CONTAINER, "livenessProbe"), {"periodSeconds": 1}, VIOLATION),
    Case("probe-port", DEPLOYMENT, (*CONTAINER, "livenessProbe", "httpGet", "port"), 9999, VIOLATION),
    Case("probe-timings", DEPLOYMENT, (*CONTAINER, "readinessProbe", "timeoutSeconds"), 11, PASS),
    Case("probe-timings", DEPLOYMENT, (*CONTAINER, "startupProbe", "failureThreshold"), 0, PASS),
    Case("startup-within-deadline", DEPLOYMENT, (*CONTAINER, "startupProbe", "failureThreshold"), 30, PASS),
    Case("pre-stop", DEPLOYMENT, (*CONTAINER, "lifecycle", "preStop"), {}, VIOLATION),
    Case("termination-grace", DEPLOYMENT, (*POD, "terminationGracePeriodSeconds"), 5, PASS),
    Case("job-deadline", "CronJob/nightly", (*JOB, "activeDeadlineSeconds"), 0, VIOLATION),
    Case("job-retries", "CronJob/nightly", (*JOB, "backoffLimit"), 7, PASS),
    Case("cron-job-history", "CronJob/nightly", ("spec", "failedJobsHistoryLimit"), 0, PASS),
    Case("cron-job-history", "CronJob/nightly", ("spec", "successfulJobsHistoryLimit"), 11, PASS),
    Case("replicas", DEPLOYMENT, ("spec", "replicas"), 1, VIOLATION),
    Case("max-unavailable-zero", DEPLOYMENT, ("spec", "strategy", "rollingUpdate", "maxUnavailable"), "25%", VIOLATION),
    Case("max-unavailable-zero", DEPLOYMENT, ("spec", "strategy", "type"), "Recreate", PASS),
    Case("disruption-budget", DEPLOYMENT, ("spec", "template", "metadata", "labels"), {"app": "other"}, VIOLATION),
    Case("disruption-budget-satisfiable", "PodDisruptionBudget/api", ("spec", "maxUnavailable"), "0%", VIOLATION),
    Case("disruption-budget-satisfiable", "PodDisruptionBudget/api", ("spec", "selector"), None, VIOLATION),
    Case("topology-spread", DEPLOYMENT, (*POD, "topologySpreadConstraints"), [], VIOLATION),
    Case(
        "topology-spread",
        DEPLOYMENT,
        (*POD, "topologySpreadConstraints", 0, "labelSelector"),
        {"matchLabels": {"app": "other"}},
        VIOLATION,
    ),
    Case(
        "autoscaler-owns-replicas",
        "HorizontalPodAutoscaler/api",
        ("spec", "scaleTargetRef", "name"),
        "api",
        PASS,
    ),
    Case("autoscaler-target", "HorizontalPodAutoscaler/api", ("spec", "scaleTargetRef", "name"), "none", VIOLATION),
    Case("autoscaler-target", "HorizontalPodAutoscaler/api", ("spec", "maxReplicas"), 1, VIOLATION),
    Case("progress-deadline", DEPLOYMENT, ("spec", "progressDeadlineSeconds"), 330, VIOLATION),
    Case("revision-history", DEPLOYMENT, ("spec", "revisionHistoryLimit"), 0, VIOLATION),
    Case("min-ready-seconds", DEPLOYMENT, ("spec", "minReadySeconds"), 0, VIOLATION),
    Case("selector-matches-pods", DEPLOYMENT, ("spec", "selector"), {"matchLabels": {"app": "other"}}, VIOLATION),
    Case("service-selects-pods", "Service/api", ("spec", "selector"), {"app": "other"}, VIOLATION),
    Case("service-port", "Service/api", ("spec", "ports", 0, "targetPort"), "grpc", VIOLATION),
    Case("service-port", "Service/api", ("spec", "ports"), [], VIOLATION),
    Case("ingress-backend", "Ingress/api", ("spec", "rules"), [], VIOLATION),
    Case(
        "ingress-backend",
        "Ingress/api",
        ("spec", "rules", 0, "http", "paths", 0, "backend", "service", "name"),
        "none",
        VIOLATION,
    ),
    Case(
        "ingress-backend",
        "Ingress/api",
        ("spec", "rules", 0, "http", "paths", 0, "backend", "service", "port"),
        {"number": 81},
        VIOLATION,
    ),
    Case("ingress-tls", "Ingress/api", ("spec", "tls"), [], VIOLATION),
    Case("ingress-tls", "Ingress/api", ("spec", "tls", 0, "hosts"), ["other.example"], VIOLATION),
    Case("network-policy", DEPLOYMENT, ("spec", "template", "metadata", "labels"), {"app": "other"}, VIOLATION),
    Case("exposure-declared", "Service/api", ("spec", "externalIPs"), ["192.0.2.1"], PASS),
    Case("own-namespace", "ConfigMap/api", ("metadata", "namespace"), "default", VIOLATION),
    Case("own-namespace", "ConfigMap/api", ("metadata", "namespace"), "kube-system", VIOLATION),
    Case("required-labels", "ConfigMap/api", ("metadata", "labels"), {"app": "api"}, VIOLATION),
    Case("required-labels", "Namespace/shop", ("metadata", "labels"), {"app": "api"}, VIOLATION),
    Case("required-pod-labels", DEPLOYMENT, ("spec", "template", "metadata", "labels"), {"app": "api"}, VIOLATION),
    Case(
        "namespace-restricted",
        "Namespace/shop",
        ("metadata", "labels", "pod-security.kubernetes.io/enforce"),
        "baseline",
        VIOLATION,
    ),
    Case("pod-security-host-process", DEPLOYMENT, (*SECURITY, "windowsOptions", "hostProcess"), True, PASS),
    Case("pod-security-host-namespaces", DEPLOYMENT, (*POD, "hostNetwork"), True, PASS),
    Case("pod-security-host-namespaces", DEPLOYMENT, (*POD, "hostPID"), True, PASS),
    Case("pod-security-host-namespaces", DEPLOYMENT, (*POD, "hostIPC"), True, PASS),
    Case("pod-security-privileged", DEPLOYMENT, (*SECURITY, "privileged"), True, PASS),
    Case("pod-security-capabilities", DEPLOYMENT, (*SECURITY, "capabilities", "drop"), ["NET_RAW"], VIOLATION),
    Case("pod-security-capabilities", DEPLOYMENT, (*SECURITY, "capabilities", "add"), ["SYS_ADMIN"], PASS),
    Case("pod-security-host-path", DEPLOYMENT, (*POD, "volumes", 0, "hostPath"), {"path": "/etc"}, PASS),
    Case("pod-security-host-ports", DEPLOYMENT, (*CONTAINER, "ports", 0, "hostPort"), 80, PASS),
    Case(
        "pod-security-host-probes",
        DEPLOYMENT,
        (*CONTAINER, "livenessProbe", "httpGet", "host"),
        "169.254.169.254",
        PASS,
    ),
    Case("pod-security-app-armor", DEPLOYMENT, (*SECURITY, "appArmorProfile", "type"), "Unconfined", PASS),
    Case(
        "pod-security-app-armor-annotation",
        DEPLOYMENT,
        ("spec", "template", "metadata", "annotations", "container.apparmor.security.beta.kubernetes.io/api"),
        "unconfined",
        PASS,
    ),
    Case("pod-security-selinux", DEPLOYMENT, (*SECURITY, "seLinuxOptions", "type"), "spc_t", PASS),
    Case("pod-security-selinux", DEPLOYMENT, (*SECURITY, "seLinuxOptions", "user"), "system_u", PASS),
    Case("pod-security-proc-mount", DEPLOYMENT, (*SECURITY, "procMount"), "Unmasked", PASS),
    Case(
        "pod-security-seccomp",
        DEPLOYMENT,
        (*POD, "securityContext", "seccompProfile", "type"),
        "Unconfined",
        VIOLATION,
    ),
    Case("pod-security-seccomp", DEPLOYMENT, (*SECURITY, "seccompProfile", "type"), "Unconfined", PASS),
    Case("pod-security-sysctls", DEPLOYMENT, (*POD, "securityContext", "sysctls"), [{"name": "kernel.msgmax"}], PASS),
    Case("pod-security-volume-types", DEPLOYMENT, (*POD, "volumes", 0, "nfs"), {"server": "nfs.example"}, PASS),
    Case("pod-security-privilege-escalation", DEPLOYMENT, (*SECURITY, "allowPrivilegeEscalation"), True, VIOLATION),
    Case("pod-security-non-root", DEPLOYMENT, (*POD, "securityContext", "runAsNonRoot"), False, VIOLATION),
    Case("pod-security-non-root", DEPLOYMENT, (*SECURITY, "runAsNonRoot"), False, PASS),
    Case("pod-security-non-root-user", DEPLOYMENT, (*SECURITY, "runAsUser"), 0, PASS),
    Case("high-user-id", DEPLOYMENT, (*POD, "securityContext", "runAsUser"), 1000, VIOLATION),
    Case("high-user-id", DEPLOYMENT, (*SECURITY, "runAsGroup"), 1000, PASS),
    Case("read-only-root", DEPLOYMENT, (*SECURITY, "readOnlyRootFilesystem"), False, VIOLATION),
    Case("no-token", DEPLOYMENT, (*POD, "automountServiceAccountToken"), True, VIOLATION),
    Case("own-service-account", DEPLOYMENT, (*POD, "serviceAccountName"), "default", VIOLATION),
    Case("own-service-account", DEPLOYMENT, (*POD, "serviceAccountName"), "nobody", VIOLATION),
    Case("own-service-account", DEPLOYMENT, (*POD, "serviceAccountName"), "scaled", VIOLATION),
    Case("no-runtime-socket", DEPLOYMENT, (*POD, "volumes", 0, "hostPath"), {"path": "/var/run/docker.sock"}, PASS),
    Case("no-host-path-storage", "PersistentVolume/api", ("spec", "hostPath"), {"path": "/data"}, PASS),
    Case("no-secret-in-env", DEPLOYMENT, (*CONTAINER, "env", 0, "value"), AWS_KEY, PASS),
    Case("no-secret-in-config-map", "ConfigMap/api", ("data", "LOG_LEVEL"), AWS_KEY, PASS),
    Case("no-secret-in-build", "Image/api", ("buildArgs", "LOG_LEVEL"), AWS_KEY, PASS),
    Case("rbac-no-wildcards", "Role/api", ("rules", 0, "verbs"), ["*"], PASS),
    Case("rbac-no-wildcards", "Role/api", ("rules", 0, "resources"), ["configmaps/*"], PASS),
    Case("rbac-no-escalation", "Role/api", ("rules", 0, "verbs"), ["impersonate"], PASS),
    Case("rbac-no-secret-reads", "Role/api", ("rules", 0, "resources"), ["secrets"], PASS),
    Case("rbac-no-admin-binding", "RoleBinding/api", ("roleRef", "name"), "cluster-admin", PASS),
    Case("rbac-named-subjects", "RoleBinding/api", ("subjects", 0, "name"), "default", PASS),
    Case(
        "rbac-named-subjects",
        "RoleBinding/api",
        ("subjects", 0),
        {"kind": "Group", "name": "system:authenticated"},
        PASS,
    ),
    Case("stateful-data-kept", "PersistentVolume/api", ("spec", "persistentVolumeReclaimPolicy"), "Delete", PASS),
]


def unprotected(ref: str) -> dict[str, Resource]:
    resources = good()
    return {**resources, ref: replace(resources[ref], options=Options())}


# Rules that ask no property, but what a resource is or its options: nothing can be missing or unknown.
PATHLESS = {
    "no-removed-api": (
        "Ingress/old",
        good()
        | {"Ingress/old": kubernetes("extensions/v1beta1:Ingress", "old", spec=good()["Ingress/api"].inputs["spec"])},
    ),
    "objects-visible": (
        "DeploymentPatch/api",
        good() | {"DeploymentPatch/api": kubernetes("apps/v1:DeploymentPatch", spec={"replicas": 1})},
    ),
    "restorable": (
        "Command/seed",
        good() | {"Command/seed": Resource("command:local:Command", "seed", {"create": "psql -f seed.sql"})},
    ),
    "stateful-protected": ("PersistentVolumeClaim/api", unprotected("PersistentVolumeClaim/api")),
    "stateful-namespace-protected": ("Namespace/shop", unprotected("Namespace/shop")),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
BY_RULE = {case.rule: case for case in CASES}


def test_every_rule_is_tested() -> None:
    assert set(BY_RULE) | set(PATHLESS) == set(RULES)


def test_a_good_stack_breaks_no_rule_and_meets_every_one() -> None:
    report = judged(good())
    assert [str(each) for each in report.results if each.state is not PASS] == []
    assert {each.rule.id for each in report.results} == set(RULES) - {"objects-visible", "restorable"}


def judged_by(rule: str, resources: dict[str, Resource], *waived: tuple[str, str]) -> Report:
    """By that rule alone, for speed."""
    return judged(resources, *waived, rules=[rule])


@EVERY_CASE
def test_compliant(case: Case) -> None:
    assert state(judged_by(case.rule, good()), case.rule, case.resource) is PASS


@EVERY_CASE
def test_violating(case: Case) -> None:
    spoilt = Edit(case.resource, case.path, case.bad).done(good())
    found = result(judged_by(case.rule, spoilt), case.rule, case.resource)
    assert found.state is VIOLATION
    assert found.refuses == (case.rule != "unit-tests-exist")  # which is said everywhere, and refuses nowhere
    for problem in found.problems:
        assert "allowed" in problem.message
        assert AWS_KEY not in str(problem)


@EVERY_CASE
def test_property_missing(case: Case) -> None:
    spoilt = Edit(case.resource, case.path, MISSING).done(good())
    assert state(judged_by(case.rule, spoilt), case.rule, case.resource) is case.missing


@EVERY_CASE
def test_unknown_is_decided_at_update(case: Case) -> None:
    spoilt = Edit(case.resource, case.path, UNKNOWN).done(good())
    found = result(judged_by(case.rule, spoilt), case.rule, case.resource)
    assert found.state is UNDECIDED
    assert not found.refuses
    assert [problem.message for problem in found.problems] == ["not known before the update"]


@EVERY_CASE
def test_waived(case: Case) -> None:
    spoilt = Edit(case.resource, case.path, case.bad).done(good())
    report = judged_by(case.rule, spoilt, (case.rule, case.resource))
    found = result(report, case.rule, case.resource)
    assert found.state is WAIVED
    assert not found.refuses
    assert "a good reason" in found.waiver
    assert report.waiver_problems == ()


@pytest.mark.parametrize(("rule", "spoilt"), PATHLESS.items(), ids=list(PATHLESS))
def test_rules_about_what_a_resource_is(rule: str, spoilt: tuple[str, dict[str, Resource]]) -> None:
    ref, resources = spoilt
    assert state(judged_by(rule, good()), rule, ref) in (PASS, None)
    found = result(judged_by(rule, resources), rule, ref)
    assert found.state is VIOLATION
    assert all("allowed" in problem.message for problem in found.problems)
    assert state(judged_by(rule, resources, (rule, ref)), rule, ref) is WAIVED


@EVERY_CASE
def test_nothing_on_the_way_to_a_property_can_trip_or_fool_a_rule(case: Case) -> None:
    for depth in range(1, len(case.path) + 1):
        way = case.path[:depth]
        unknown = judged_by(case.rule, Edit(case.resource, way, UNKNOWN).done(good()))
        assert state(unknown, case.rule, case.resource) in (UNDECIDED, VIOLATION), way
        for odd in ("text", 7, True, None, [], {}, ["x"], [None], {"x": UNKNOWN}):
            judged_by(case.rule, Edit(case.resource, way, odd).done(good()))
