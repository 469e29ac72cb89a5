"""What the whole program declares, in both environments."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from components import release
from components.environment import Environment, EnvironmentArgs
from slipway.cluster.checks import Answer

SERVICES = ["order-service", "user-service"]
# How the engine is told that a value is to be kept encrypted in the state.
SECRET_MARK, SECRET_SIGNATURE = rpc._special_sig_key, rpc._special_secret_sig
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
PER_SERVICE = [
    "kubernetes:core/v1:ServiceAccount",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy",
    "kubernetes:core/v1:ConfigMap",
    "kubernetes:core/v1:Secret",
    "kubernetes:core/v1:Service",
    DEPLOYMENT,
    "kubernetes:policy/v1:PodDisruptionBudget",
    "slipway:index:Microservice",
    "slipway:index:ServiceImage",
]


def program() -> None:
    environment = Environment(pulumi.get_stack(), EnvironmentArgs.from_config())
    images = release.build(environment)
    microservices = release.deploy(environment, images)
    release.verify(environment, microservices)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Services that answer every check well; the list fills with what was asked."""
    asked: list[tuple[str, str]] = []

    def ask(service: str, path: str) -> Answer:
        asked.append((service, path))
        return Answer(200, '{"users": [], "orders": [], "total": 0}')

    monkeypatch.setattr(release, "service_proxy", lambda *_: lambda: ask)
    return asked


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_each_environment_declares_every_object_of_every_service(declare: Any, healthy: Any, stack: str) -> None:
    recorded = declare(program, stack=stack)
    for token in PER_SERVICE:
        assert recorded.names(token) == SERVICES, token
    assert recorded.inputs("kubernetes:core/v1:Namespace", stack)["metadata"]["name"] == f"slipway-{stack}"
    assert recorded.names("docker-build:index:Image") == sorted([*SERVICES, *(f"{name}-test" for name in SERVICES)])
    for name in SERVICES:
        metadata = recorded.inputs(DEPLOYMENT, name)["metadata"]
        assert (metadata["name"], metadata["namespace"]) == (name, f"slipway-{stack}")


def test_prod_has_more_replicas_and_stricter_rollouts(declare: Any, healthy: Any) -> None:
    dev = declare(program, stack="dev").inputs(DEPLOYMENT, "order-service")["spec"]
    prod = declare(program, stack="prod").inputs(DEPLOYMENT, "order-service")["spec"]
    assert (dev["replicas"], prod["replicas"]) == (1, 2)
    assert ("minReadySeconds" in dev, prod["minReadySeconds"]) == (False, 5)


def test_images_are_deployed_by_digest_and_tested_first(declare: Any, healthy: Any) -> None:
    recorded = declare(program)
    test = recorded.inputs("docker-build:index:Image", "user-service-test")
    image = recorded.inputs("docker-build:index:Image", "user-service")
    assert (test["target"], test["push"], test["exports"]) == ("test", False, [{"cacheonly": {}}])
    assert (image["target"], image["push"]) == ("runtime", True)
    context = {"location": "services/user_service", "named": {"kit": {"location": "services/kit"}}}
    assert (test["context"], image["context"]) == (context, context)
    # so that the provider builds the tests again where only a named context has changed
    assert test["labels"] == {"slipway.dev/content": image["tags"][0].rpartition(":")[2]}
    assert "labels" not in image
    assert image["tags"][0].startswith("registry.example/team/user-service:")
    assert image["buildArgs"] == {"BASE_IMAGE": "python:3.12-slim@sha256:" + "1" * 64}
    container = recorded.inputs(DEPLOYMENT, "user-service")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example/team/user-service@sha256:" + "1" * 64


def test_pods_are_restricted(declare: Any, healthy: Any) -> None:
    pod = declare(program).inputs(DEPLOYMENT, "user-service")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory", "ephemeral-storage"} == set(container["resources"]["limits"])
    assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["requests"])
    assert container["livenessProbe"] != container["readinessProbe"]
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_calls_give_an_address_open_the_policy_and_order_the_rollout(declare: Any, healthy: Any) -> None:
    recorded = declare(program)
    data = recorded.inputs("kubernetes:core/v1:ConfigMap", "order-service")["data"]
    assert data["USER_SERVICE_URL"] == "http://user-service"
    callers = recorded.inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", "user-service")["spec"]["ingress"]
    assert callers[0]["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "order-service"}}}]
    assert recorded.inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", "order-service")["spec"]["ingress"] == []
    deployed = [each.name for each in recorded.resources if each.typ == DEPLOYMENT]
    assert deployed == ["user-service", "order-service"]


def test_checks_are_asked_in_an_update_and_recorded_on_the_deployment(declare: Any, healthy: Any) -> None:
    recorded = declare(program)
    annotations = recorded.inputs(DEPLOYMENT, "user-service")["metadata"]["annotations"]
    recorded_checks = [("user-service", check["get"]) for check in json.loads(annotations["slipway.dev/checks"])]
    assert recorded_checks
    assert recorded_checks == [asked for asked in healthy if asked[0] == "user-service"]


def test_a_preview_asks_nothing(declare: Any, healthy: Any) -> None:
    declare(program, preview=True)
    assert healthy == []


def test_a_failing_check_fails_the_update_and_says_which(declare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(service: str, path: str) -> Answer:
        return Answer(500 if service == "order-service" else 200, '{"users": [], "error": "boom"}')

    monkeypatch.setattr(release, "service_proxy", lambda *_: lambda: ask)
    with pytest.raises(pulumi.RunError, match=r"order-service: GET /orders answered 500: .*boom.*; wanted status 200"):
        declare(program, config={"slipway:checksTimeoutSeconds": "1"})


def test_a_changed_value_makes_another_config_map_and_replaces_none(declare: Any, healthy: Any) -> None:
    """A replaced one would stand in the way of whoever goes back to it after an update that failed."""
    before = config_map(declare(program))
    assert config_map(declare(program)) == before
    changed = json.dumps({"user-service": {"env": {"LOG_LEVEL": "debug"}}})
    after = config_map(declare(program, config={"slipway:services": changed}))
    assert len({*before, *after}) == 2
    assert [len({*names}) for names in (before, after)] == [1, 1], "the same name in Pulumi and in Kubernetes"


def config_map(recorded: Any) -> tuple[str, str]:
    """The names of user-service's in Pulumi and in Kubernetes."""
    found = [each for each in recorded.resources if each.typ == "kubernetes:core/v1:ConfigMap"]
    (its,) = [each for each in found if each.name.startswith("user-service-")]
    return its.name, its.inputs["metadata"]["name"]


def test_secrets_come_from_the_stack_before_the_environment(declare: Any, healthy: Any) -> None:
    dev = declare(program, stack="dev").inputs("kubernetes:core/v1:Secret", "user-service")
    prod = declare(program, stack="prod").inputs("kubernetes:core/v1:Secret", "user-service")
    for secret, value in ((dev, "sqlite:////data/users.db"), (prod, "postgresql+psycopg://u:p@db/x")):
        assert secret["stringData"] == {SECRET_MARK: SECRET_SIGNATURE, "value": {"DATABASE_URL": value}}
    assert dev["metadata"]["name"] != prod["metadata"]["name"]
    assert dev["metadata"]["name"].startswith("user-service-")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"slipway:services": '{"user-servic": {}}'},
            "no service is named `user-servic`; did you mean `user-service`?",
        ),
        ({"slipway:services": '{"user-service": {"replicas": -1}}'}, "`replicas` is -1"),
        ({"slipway:services": '{"user-service": 3}'}, "`slipway:services.user-service` is 3"),
        ({"slipway:checksTimeoutSeconds": "soon"}, "`slipway:checksTimeoutSeconds` is 'soon'"),
        ({"slipway:namespace": "Not_A_Label"}, "is not a DNS label"),
        ({"slipway:platforms": '["linux/amd65"]'}, "`slipway:platforms.0` is 'linux/amd65'"),
    ],
)
def test_bad_configuration_is_refused_before_anything_is_declared(
    declare: Any, healthy: Any, config: dict[str, str], message: str
) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        declare(program, config=config)
    assert str(caught.value).startswith("Configuration error: ")
    assert message in str(caught.value)


def test_a_missing_secret_says_how_to_set_it(declare: Any, healthy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USER_SERVICE_DATABASE_URL")
    with pytest.raises(pulumi.RunError, match="pulumi config set --secret user-service:DATABASE_URL"):
        declare(program, stack="prod")


def test_a_missing_registry_says_how_to_set_it(declare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_REGISTRY")
    with pytest.raises(pulumi.RunError, match="pulumi config set slipway:registry"):
        declare(program)


@pytest.mark.parametrize(
    ("base_image", "addresses"),
    [
        ("127.0.0.1:5000/python:1", ["http://127.0.0.1:5000"]),
        ("registry.example/python:1", []),
        ("python:3.12-slim", []),
    ],
)
def test_only_a_registry_on_loopback_is_asked_over_plain_http(
    declare: Any, healthy: Any, base_image: str, addresses: list[str]
) -> None:
    provider = declare(program, config={"slipway:baseImage": base_image}).inputs("pulumi:providers:docker", "dev")
    assert [entry["address"] for entry in json.loads(provider.get("registryAuth", "[]"))] == addresses
    assert provider["disableDockerDaemonCheck"] == "true"
