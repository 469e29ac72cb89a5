"""Both environments of this repository obey every rule, and so does any service that the catalogue accepts."""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.kinds import Microservice
from components.kubernetes_defaults import register_kubernetes_defaults
from components.rollouts import AwaitedRollouts
from components.workload import WorkloadArgs
from policy.declaration import Resource
from policy.declared import Program, collect, resources_of
from policy.judge import Judge, Report
from policy.model import Level, State
from policy.rules import ALL
from services.spec import ServiceSpec
from tests.committed_settings import committed_settings
from tests.example import SERVICES

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = "registry.example/team"
DIGEST = "sha256:" + "a" * 64
# What only a stack with such resources is asked.
ELSEWHERE = {
    *("ingress-", "autoscaler-", "rbac-", "stateful-", "no-host-path-storage", "objects-visible", "restorable"),
    *("promoted-", "cron-job-", "job-", "worker-"),
}
OF_BUILDS = {"base-image-", "image-tag-", "no-secret-in-build", "unit-tests-"}
# What the catalogue lets a service do though it is not wise; advice in dev, refused in prod.
ADVISED = {"startup-within-deadline"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REGISTRY", REGISTRY)
    monkeypatch.delenv("SLIPWAY_BASE_IMAGE", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)


def program(stack: str) -> Program:
    config = committed_settings(stack)
    secrets = {f"{service}:DATABASE_URL": "postgresql://u:hunter2@db/x" for service in SERVICES}
    return Program(ROOT, "slipway", stack, "organization", config | secrets, tuple(secrets))


def report_on(stack: str, resources: list[Resource]) -> Report:
    return Judge.of(stack, {}, os.environ).evaluate(resources)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_environment_obeys_every_rule(stack: str) -> None:
    resources = resources_of(program(stack))
    kinds = Counter(resource.kind for resource in resources if not resource.type.startswith("slipway:"))
    found = {kind: kinds[kind] for kind in ("Deployment", "Service", "CronJob", "Job", "Secret")}
    assert found == {"Deployment": 3, "Service": 2, "CronJob": 1, "Job": 1, "Secret": len(SERVICES)}
    assert kinds["Image"] == (len(SERVICES) if stack == "dev" else 0), "prod runs what dev has built"
    report = report_on(stack, resources)
    assert [
        f"{each.rule.id} {each.resource.ref} {each.problems}" for each in report.results if each.state is not State.PASS
    ] == []
    assert not report.refuses
    evaluated = {each.rule.id for each in report.results}
    off = {rule.id for rule in ALL if Judge.of(stack, {}, {}).level(rule) is Level.OFF}
    unasked = {rule.id for rule in ALL} - evaluated - off
    elsewhere = ELSEWHERE if kinds["Image"] else ELSEWHERE - {"promoted-"} | OF_BUILDS
    assert all(any(rule.startswith(part) for part in elsewhere) for rule in unasked), unasked


def strategies() -> Any:
    """Those of the components' own test, so that both speak of the same services."""
    location = ROOT / "tests" / "components" / "test_any_service.py"
    spec = importlib.util.spec_from_file_location("any_service", location)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TELLING = re.compile("PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|AUTH")
# What people do set in `env`, though its name has such a word or its value looks like an assignment.
ORDINARY = {
    "OAUTH_TOKEN_ENDPOINT": "https://login.example/72f988bf-86f1-41af-91ab-2d7cd011db47/oauth2/v2.0/token",
    "AUTH_DOMAIN": "login2.example.com",
    "PASSWORD_POLICY": "strict",
    "PASSWORD_MAX_AGE_DAYS": "90",
    "PARTITION_KEY": "tenant_id_v2_hash",
    "DB_PASSWORD_FILE": "/run/secrets/db",
    "GREETING": "Password: type it below",
    "LABELS": '{"password": "Your password", "token": "A token"}',
    "JAVA_OPTS": "-Xmx64m -Dauth.realm=shop -Ddb.password=$(DB_PASSWORD)",
    "QUERY": "grant_type=password&response_type=token",
}
any_service = strategies()
documents = st.builds(
    lambda document, more, env: document | more | {"env": document.get("env", {}) | env},
    any_service.specs,
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["a", "a" * 46, "kubernetes", "kube-system", "default-service", "x-1"]),
            "rollout": st.fixed_dictionaries(
                {"progressDeadlineSeconds": st.integers(200, 540)},
                optional={
                    "minReadySeconds": st.integers(0, 199),
                    "terminationGracePeriodSeconds": st.integers(1, 3600),
                },
            ),
            "service": st.sampled_from([{"type": "LoadBalancer"}, {"type": "NodePort"}, {}]),
            "ingress": st.just({"host": "shop.example", "tlsSecretName": "shop-tls"}),
            "health": st.fixed_dictionaries({"startupTimeoutSeconds": st.integers(1, 3600)}),
        },
    ),
    st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in ORDINARY.items()}),
)


def test_a_name_that_a_rule_would_refuse_is_refused_by_the_catalogue() -> None:
    with pytest.raises(ValidationError, match="'default' is a ServiceAccount that every namespace has"):
        ServiceSpec.model_validate({"name": "default"})


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_no_service_that_the_catalogue_accepts_is_refused_in_dev(document: dict[str, Any]) -> None:
    spec = ServiceSpec.model_validate(document)
    # A secret in `env` is what no catalogue can tell and a rule is for; its name, made of any letters, may tell of one.
    assume(not any(TELLING.search(name) for name in spec.env.keys() - ORDINARY.keys()))
    secrets = dict.fromkeys(spec.secrets, "x")

    def declare() -> None:
        register_kubernetes_defaults(None, [])
        args = WorkloadArgs(
            spec,
            image=f"{REGISTRY}/i@{DIGEST}",
            namespace="slipway-dev",
            rollouts=AwaitedRollouts(None),
            secrets=secrets,
            callers=["other"],
        )
        Microservice(spec.name, args)

    resources = collect(Program(ROOT, "slipway", "dev", "organization", {}), declare)
    assert "Deployment" in {resource.kind for resource in resources}
    report = report_on("dev", resources)
    assert [f"{each.rule.id} {each.problems}" for each in report.refusals] == []
    assert {each.rule.id for each in report.results if each.state is not State.PASS} <= ADVISED
