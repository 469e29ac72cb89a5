"""Values and names of an environment: what arrives in the cluster, and what is refused before it is touched."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.lab, pytest.mark.e2e]


def services(**by_name: dict[str, Any]) -> str:
    """A line for `Project.configure`; `user_service` is user-service."""
    return f"  slipway:services: {json.dumps({name.replace('_', '-'): each for name, each in by_name.items()})}"


def exposed(port: int | None) -> dict[str, Any]:
    return {"service": {"type": "NodePort", "nodePort": port} if port else {"type": "ClusterIP"}}


def test_a_secret_among_the_settings_never_reaches_the_cluster(project: Any) -> None:
    assert project.run("pulumi", "stack", "init", "e2e").code == 0
    path = 'slipway:services["user-service"].env.GREETING'
    made = project.run("pulumi", "config", "set", "-s", "e2e", "--secret", "--path", path, "hidden-word")
    assert made.code == 0, made.output
    refused = project.slipway("up", "-s", "e2e", "--yes")
    assert refused.code == 2, refused.output
    flat = " ".join(refused.output.split())
    assert "`slipway:services.user-service.env.GREETING` is a secret" in flat
    assert "`pulumi config set --secret user-service:GREETING`" in flat
    bare = project.up()
    assert bare.code != 0
    assert "hidden-word" not in refused.output + bare.output
    assert all(
        "hidden-word" not in file.read_text(errors="replace") for file in files(project.folder.parent / "backend")
    )
    assert namespaces(project) == []


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def namespaces(project: Any) -> list[str]:
    return [name for name in project.namespaces() if name.startswith(project.namespace)]


@pytest.mark.thorough
def test_node_ports_change_hands_in_two_updates_and_a_service_may_have_no_pod(project: Any) -> None:
    one, two, other = (31000 + each for each in secrets.SystemRandom().sample(range(1000), 3))
    idle = {"replicas": 0}
    project.replace("services/user_service/service.yaml", "env: {LOG_LEVEL: info}", "env: {ZIP: 01234, AT: 12:30}")

    def update(of_user_service: int | None, of_order_service: int | None) -> Any:
        order_service = {**exposed(of_order_service), "imagePullSecrets": ["own"], "checks": [{"get": "/healthz"}]}
        settings = services(user_service={**idle, **exposed(of_user_service)}, order_service=order_service)
        project.configure(f"{settings}\n  slipway:imagePullSecrets: [registry-login]")
        return project.slipway("up", "-s", "e2e", "--yes")

    first = update(one, two)
    assert first.code == 0, first.output
    assert "1 check met" in first.output or "1 checks met" in first.output
    swapped = update(two, one)
    assert swapped.code == 2, swapped.output
    flat = " ".join(swapped.output.split())
    assert f"node port {one} of order-service still belongs to user-service" in flat
    assert f"node port {two} of user-service still belongs to order-service" in flat
    assert update(None, other).code == 0
    assert update(two, one).code == 0
    listed = project.get(f"/api/v1/namespaces/{project.namespace}/services")["items"]
    ports = {each["metadata"]["name"]: each["spec"]["ports"][0]["nodePort"] for each in listed}
    assert ports == {"user-service": two, "order-service": one}
    back = project.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert back.code == 1, back.output
    assert "roll back first to a recorded state in which it is free" in " ".join(back.output.split())

    assert project.slipway("verify", "-s", "e2e").code == 0
    deployments = project.deployments()
    assert deployments["user-service"]["spec"]["replicas"] == 0
    pod = deployments["order-service"]["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry-login"}, {"name": "own"}]
    maps = project.get(f"/api/v1/namespaces/{project.namespace}/configmaps")["items"]
    (data,) = [each["data"] for each in maps if each["metadata"]["name"].startswith("user-service-")]
    assert data == {"PORT": "8080", "ZIP": "01234", "AT": "12:30"}


@pytest.mark.thorough
def test_a_context_is_used_whatever_the_kubeconfig_and_the_project_say(project: Any, tmp_path: Path) -> None:
    """No current-context, and a project of another name, whose `slipway:` keys count all the same."""
    kubeconfig = yaml.safe_load(Path(project.environment["KUBECONFIG"]).read_text())
    context = kubeconfig.pop("current-context")
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig))
    project = project.with_environment(KUBECONFIG=str(file))
    project.replace("Pulumi.yaml", "name: slipway", "name: shop")
    project.configure()
    refused = project.slipway("preview", "-s", "e2e")
    assert refused.code == 2, refused.output
    flat = " ".join(refused.output.split())
    assert "the kubeconfig has no current-context; name one with `slipway:context`, or choose one with" in flat
    assert f"it has: {context}" in flat
    project.configure(f"  slipway:context: {context}")
    previewed = project.slipway("preview", "-s", "e2e")
    assert previewed.code == 0, previewed.output
    assert "Preview of shop/e2e: 2 services are new, 1 other object changes" in previewed.output
