"""What the whole program declares, in both environments."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
from pulumi.output import UNKNOWN, contains_unknowns
from pulumi.runtime import rpc

from components import release
from components.environment import Environment, EnvironmentArgs
from components.program import wait_at_once
from services.spec import Check
from slipway.cluster.checks import Answer
from tests.example import SERVICES

DIGEST = "sha256:" + "0a" * 32
OVER_HTTP = ["order-service", "user-service"]
WITH_PODS = ["order-service", "order-worker", "user-service"]
# How the engine is told that a value is to be kept encrypted in the state.
SECRET_MARK, SECRET_SIGNATURE = rpc._special_sig_key, rpc._special_secret_sig
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
OF_ALL = [*SERVICES]
DECLARED = {
    "kubernetes:core/v1:ServiceAccount": OF_ALL,
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": [*OF_ALL, "order-service-migration"],
    "kubernetes:core/v1:ConfigMap": OF_ALL,
    "kubernetes:core/v1:Secret": OF_ALL,
    "kubernetes:core/v1:Service": OVER_HTTP,
    DEPLOYMENT: WITH_PODS,
    "kubernetes:policy/v1:PodDisruptionBudget": WITH_PODS,
    "kubernetes:batch/v1:CronJob": ["order-cleanup"],
    "kubernetes:batch/v1:Job": ["order-service"],
    "slipway:index:Microservice": OVER_HTTP,
    "slipway:index:Worker": ["order-worker"],
    "slipway:index:CronJob": ["order-cleanup"],
    "slipway:index:ServiceImage": OF_ALL,
}


def program() -> None:
    environment = Environment(pulumi.get_stack(), EnvironmentArgs.from_config())
    images = release.build(environment)
    microservices = release.deploy(environment, images)
    release.verify(environment, microservices)
    wait_at_once()


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Services that answer every check well; the list fills with what was asked."""
    return answer_well(monkeypatch)


def answer_well(patch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    requests: list[tuple[str, str]] = []

    def ask(service: str, check: Check, _timeout_seconds: float) -> list[Answer]:
        requests.append((service, check.path))
        return [Answer(200, '{"users": [], "orders": [], "total": 0}')]

    patch.setattr(release, "ready_pods", lambda *_: lambda: ask)
    return requests


@pytest.fixture(scope="module")
def updates(declare: Any) -> dict[str, tuple[Any, list[tuple[str, str]]]]:
    """What an update declares, and the checks that it asks, by stack."""
    found = {}
    for stack in ("dev", "prod"):
        with pytest.MonkeyPatch.context() as patch:
            requests = answer_well(patch)
            found[stack] = (declare(program, stack=stack), requests)
    return found


@pytest.fixture(scope="module")
def dev(updates: Any) -> Any:
    return updates["dev"][0]


@pytest.fixture(scope="module")
def prod(updates: Any) -> Any:
    return updates["prod"][0]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_each_environment_declares_every_object_of_every_service(updates: Any, stack: str) -> None:
    recorded, _ = updates[stack]
    for token, names in DECLARED.items():
        assert recorded.names(token) == sorted(names), token
    assert recorded.inputs("kubernetes:core/v1:Namespace", stack)["metadata"]["name"] == f"slipway-{stack}"
    built = sorted(SERVICES) if stack == "dev" else []
    assert recorded.names("docker-build:index:Image") == built, "prod runs what dev has built"
    for name in WITH_PODS:
        metadata = recorded.inputs(DEPLOYMENT, name)["metadata"]
        assert (metadata["name"], metadata["namespace"]) == (name, f"slipway-{stack}")


def test_prod_has_more_replicas_and_stricter_rollouts(dev: Any, prod: Any) -> None:
    in_dev, in_prod = (each.inputs(DEPLOYMENT, "order-service")["spec"] for each in (dev, prod))
    assert (in_dev["replicas"], in_prod["replicas"]) == (1, 2)
    assert ("minReadySeconds" in in_dev, in_prod["minReadySeconds"]) == (False, 5)


def test_a_digest_that_a_preview_lacks_is_unknown(declare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the provider gives it where it would build anew though no input has changed, only modes of files.

    An empty one made `repository@` of the image, which the policies refused.
    """
    monkeypatch.setattr("tests.components.conftest.DIGEST", "")
    recorder = declare(program, preview=True)
    for service in WITH_PODS:
        (container,) = recorder.inputs(DEPLOYMENT, service)["spec"]["template"]["spec"]["containers"]
        assert contains_unknowns(container.get("image", UNKNOWN))  # left out where it waits for another service


def test_images_are_built_with_their_unit_tests_and_deployed_by_digest(dev: Any) -> None:
    image = dev.inputs("docker-build:index:Image", "user-service")
    assert (image["target"], image["exports"]) == ("runtime", [{"raw": "type=registry"}])
    assert image["context"] == {
        "location": "services/user_service",
        "named": {"kit": {"location": "services/kit"}},
    }
    assert image["labels"] == {"slipway.dev/unit-tests": "stage test"}
    assert image["tags"][0].startswith("registry.example/team/user-service:")
    assert image["buildArgs"] == {"BASE_IMAGE": "python:3.12-slim@sha256:" + "1" * 64}
    container = dev.inputs(DEPLOYMENT, "user-service")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example/team/user-service@sha256:" + "1" * 64


def test_pods_are_restricted(dev: Any) -> None:
    pod = dev.inputs(DEPLOYMENT, "user-service")["spec"]["template"]["spec"]
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


def test_images_are_pulled_with_the_secrets_of_environment_and_service(declare: Any, healthy: Any) -> None:
    config = {
        "slipway:imagePullSecrets": '["registry-login", "mirror.example"]',
        "slipway:services": '{"user-service": {"imagePullSecrets": ["own", "mirror.example"]}}',
    }
    recorded = declare(program, config=config)
    found = {
        name: recorded.inputs(DEPLOYMENT, name)["spec"]["template"]["spec"]["imagePullSecrets"] for name in OVER_HTTP
    }
    assert found == {
        "order-service": [{"name": "registry-login"}, {"name": "mirror.example"}],
        "user-service": [{"name": "registry-login"}, {"name": "mirror.example"}, {"name": "own"}],
    }
    without = declare(program).inputs(DEPLOYMENT, "user-service")["spec"]["template"]["spec"]
    assert "imagePullSecrets" not in without


def test_calls_give_an_address_open_the_policy_and_order_the_rollout(dev: Any) -> None:
    data = dev.inputs("kubernetes:core/v1:ConfigMap", "order-service")["data"]
    assert data["USER_SERVICE_URL"] == "http://user-service"
    callers = dev.inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", "user-service")["spec"]["ingress"]
    assert callers[0]["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "order-service"}}}]
    assert dev.inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", "order-service")["spec"]["ingress"] == []
    deployed = [each.name for each in dev.resources if each.typ == DEPLOYMENT]
    assert deployed.index("user-service") < deployed.index("order-service")


def test_checks_run_in_an_update_and_are_recorded_on_the_deployment(updates: Any) -> None:
    recorded, requests = updates["dev"]
    annotations = recorded.inputs(DEPLOYMENT, "user-service")["metadata"]["annotations"]
    recorded_checks = [("user-service", check["get"]) for check in json.loads(annotations["slipway.dev/checks"])]
    assert recorded_checks
    assert recorded_checks == [request for request in requests if request[0] == "user-service"]


def test_prometheus_may_connect_where_its_namespace_is_named(declare: Any, healthy: Any) -> None:
    recorded = declare(program, config={"slipway:metricsFrom": "monitoring"})
    for name, sources in (("user-service", 2), ("order-service", 1)):
        (rule,) = recorded.inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", name)["spec"]["ingress"]
        namespaces = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
        assert rule["from"][-1] == {"namespaceSelector": namespaces}
        assert len(rule["from"]) == sources


def test_a_service_without_replicas_is_released_and_not_checked(declare: Any, healthy: Any) -> None:
    """Nobody answers for it: a check that is asked, now or by `slipway verify`, could never be met."""
    recorded = declare(program, config={"slipway:services": json.dumps({"user-service": {"replicas": 0}})})
    assert recorded.inputs(DEPLOYMENT, "user-service")["spec"]["replicas"] == 0
    assert recorded.inputs(DEPLOYMENT, "user-service")["metadata"]["annotations"]["slipway.dev/checks"] == "[]"
    assert {service for service, _ in healthy} == {"order-service"}


def test_an_autoscaled_service_is_checked_whatever_its_replicas_are(declare: Any, healthy: Any) -> None:
    scaled = {"replicas": 0, "autoscaling": {"minReplicas": 1, "maxReplicas": 2}}
    declare(program, config={"slipway:services": json.dumps({"user-service": scaled})})
    assert {service for service, _ in healthy} == {"order-service", "user-service"}


def test_a_preview_asks_nothing(declare: Any, healthy: Any) -> None:
    declare(program, preview=True)
    assert healthy == []


def test_a_failing_check_fails_the_update_and_says_which(declare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(service: str, _check: Check, _timeout_seconds: float) -> list[Answer]:
        return [Answer(500 if service == "order-service" else 200, '{"users": [], "error": "boom"}')]

    monkeypatch.setattr(release, "ready_pods", lambda *_: lambda: ask)
    with pytest.raises(
        pulumi.RunError, match=r"order-service: GET /orders answered 500: .*boom.*; expected status 200"
    ):
        declare(program, config={"slipway:checksTimeoutSeconds": "1"})


def test_a_changed_value_makes_another_config_map_and_replaces_none(declare: Any, dev: Any, healthy: Any) -> None:
    """A replaced one would stand in the way of whoever goes back to it after an update that failed."""
    before = config_map(dev)
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


def test_secrets_come_from_the_stack_before_the_environment(declare: Any, healthy: Any, dev: Any) -> None:
    configured = declare(program, config={"user-service:DATABASE_URL": "sqlite:////data/users.db"})
    of_stack, of_variable = (each.inputs("kubernetes:core/v1:Secret", "user-service") for each in (configured, dev))
    for secret, value in ((of_stack, "sqlite:////data/users.db"), (of_variable, "postgresql+psycopg://u:p@db/x")):
        assert secret["stringData"] == {SECRET_MARK: SECRET_SIGNATURE, "value": {"DATABASE_URL": value}}
    assert of_stack["metadata"]["name"] != of_variable["metadata"]["name"]
    assert of_stack["metadata"]["name"].startswith("user-service-")


def test_the_worker_and_the_cron_job_are_the_image_of_the_service_with_another_command(dev: Any) -> None:
    service, worker = (dev.inputs("docker-build:index:Image", name) for name in ("order-service", "order-worker"))
    assert worker["tags"][0].rpartition(":")[2] == service["tags"][0].rpartition(":")[2], "the same content"
    (container,) = dev.inputs(DEPLOYMENT, "order-worker")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "order_service.worker"]


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
        ({"slipway:metricsFrom": "Monitoring/*"}, "`slipway:metricsFrom` is 'Monitoring/*'"),
        ({"slipway:imagePullSecrets": '["Login"]'}, "'Login' is not a name of Kubernetes: lower-case letters, digits"),
        ({"slipway:imagePullSecrets": "login"}, "`slipway:imagePullSecrets` is 'login'"),
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


@pytest.mark.parametrize("base_image", [f"registry.example/python@{DIGEST}", f"registry.example/python:1@{DIGEST}"])
def test_a_base_image_that_is_pinned_already_stays_as_it_is(declare: Any, healthy: Any, base_image: str) -> None:
    recorded = declare(program, config={"slipway:baseImage": base_image})
    image = recorded.inputs("docker-build:index:Image", "user-service")
    assert image["buildArgs"] == {"BASE_IMAGE": base_image}
    assert recorded.calls == []


@pytest.mark.parametrize(
    ("base_image", "addresses"),
    [
        ("127.0.0.1:5000/python:1", ["http://127.0.0.1:5000"]),
        ("registry.example/python:1", []),
        ("python:3.12-slim", []),
    ],
)
def test_only_a_registry_on_loopback_is_read_over_plain_http(
    declare: Any, healthy: Any, base_image: str, addresses: list[str]
) -> None:
    provider = declare(program, config={"slipway:baseImage": base_image}).inputs("pulumi:providers:docker", "dev")
    assert [entry["address"] for entry in json.loads(provider.get("registryAuth", "[]"))] == addresses
    assert provider["disableDockerDaemonCheck"] == "true"
