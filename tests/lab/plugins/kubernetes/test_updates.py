"""Whole updates: the real engine, the SDK's classes, this provider, and the lab's cluster."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.plugins.kubernetes.client import ApiError, Client

pytestmark = pytest.mark.lab
NewProject = Callable[..., Any]

PROGRAM = """
    import pulumi
    import pulumi_kubernetes as k8s

    config = pulumi.Config()
    namespace, labels = config.require("namespace"), {"app": "web"}
    settings = k8s.core.v1.ConfigMap("settings", metadata={"namespace": namespace}, data={"tag": config.require("tag")})
    secret = k8s.core.v1.Secret(
        "secret",
        metadata={"name": "secret", "namespace": namespace},
        string_data={"password": config.require_secret("password")},
    )
    deployment = k8s.apps.v1.Deployment(
        "web",
        metadata={"name": "web", "namespace": namespace},
        spec={
            "replicas": int(config.require("replicas")),
            "selector": {"match_labels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "termination_grace_period_seconds": 1,
                    "containers": [
                        {
                            "name": "web",
                            "image": config.require("image"),
                            "command": ["python3", "-m", "http.server", "8080"],
                            "env": [{"name": "SETTINGS", "value": settings.metadata.name}],
                            "resources": {"requests": {"cpu": "0.01"}},
                            "readiness_probe": {"http_get": {"path": "/", "port": 8080}, "period_seconds": 1},
                        }
                    ],
                },
            },
        },
    )
    service = k8s.core.v1.Service(
        "web",
        metadata={"name": "web", "namespace": namespace},
        spec={"selector": labels, "ports": [{"name": "http", "port": 80, "target_port": 8080}]},
    )
    pulumi.export("settings", settings.metadata.name)
    pulumi.export("address", service.spec.cluster_ip)
"""


@pytest.fixture
def project(new_project: NewProject, namespace: str, kubeconfig: str, base_image: str) -> Any:
    made = new_project(PROGRAM)
    made.environment["KUBECONFIG"] = kubeconfig
    for key, value in {"namespace": namespace, "tag": "1", "replicas": "1", "image": base_image}.items():
        made.pulumi("config", "set", key, value)
    made.pulumi("config", "set", "--secret", "password", "hunter2")
    yield made
    made.pulumi("destroy", "--yes", "--skip-preview")


def diagnostics(result: Any) -> str:
    return str(result.output).partition("Diagnostics:")[2]


def state(project: Any) -> dict[str, dict[str, Any]]:
    """The recorded resources by kind."""
    exported = project.pulumi("stack", "export").output
    resources = json.loads(exported)["deployment"]["resources"]
    return {resource["type"].rpartition(":")[2]: resource for resource in resources}


def test_an_update_from_nothing_to_nothing(project: Any, cluster: Client, namespace: str) -> None:
    preview = project.preview()
    assert "+ 5 to create" in preview.output, preview.output
    first = project.up()
    assert "+ 5 created" in first.output, first.output
    assert "warning" not in first.output
    live = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert live["status"]["availableReplicas"] == 1
    service = cluster.get(f"/api/v1/namespaces/{namespace}/services/web")
    assert project.outputs()["address"] == service["spec"]["clusterIP"]

    again = project.up()
    assert "5 unchanged" in again.output, again.output
    refreshed = project.pulumi("refresh", "--yes", "--skip-preview")
    assert "5 unchanged" in refreshed.output, refreshed.output
    assert "5 unchanged" in project.up().output

    project.pulumi("config", "set", "tag", "2")
    changed = project.up("--diff")
    assert "~ 1 updated" in changed.output, changed.output
    assert "+-1 replaced" in changed.output
    destroyed = project.pulumi("destroy", "--yes", "--skip-preview")
    assert "- 5 deleted" in destroyed.output, destroyed.output
    with pytest.raises(ApiError):
        cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")


def test_the_state_is_as_the_official_plugin_writes_it(project: Any, namespace: str) -> None:
    assert project.up().code == 0
    found = state(project)
    deployment = found["Deployment"]
    assert deployment["id"] == f"{namespace}/web"
    assert sorted(deployment["inputs"]) == ["apiVersion", "kind", "metadata", "spec"]
    private = {"__inputs", "__initialApiVersion", "__fieldManager"}
    assert set(deployment["outputs"]) == {"apiVersion", "kind", "metadata", "spec", "status"} | private
    assert deployment["outputs"]["__inputs"] == deployment["inputs"]
    container = deployment["inputs"]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "10m"}}
    settings = found["ConfigMap"]["inputs"]["metadata"]
    assert settings["annotations"] == {"pulumi.com/autonamed": "true"}
    exported = project.pulumi("stack", "export").output
    assert "hunter2" not in exported
    assert "aHVudGVyMg==" not in exported, "nor in base64"


def test_a_rollout_that_cannot_succeed_is_recorded_and_repaired(project: Any, base_image: str) -> None:
    project.pulumi("config", "set", "image", "127.0.0.1:5000/no-such:1")
    failed = project.up()
    assert failed.code != 0
    assert "ImagePull" in failed.output
    assert "127.0.0.1:5000/no-such:1" in failed.output
    assert "Traceback" not in failed.output
    assert state(project)["Deployment"]["initErrors"]
    project.pulumi("config", "set", "image", base_image)
    repaired = project.up()
    assert repaired.code == 0, repaired.output
    assert "initErrors" not in state(project)["Deployment"]


def test_an_interrupt_ends_the_wait_and_keeps_what_was_made(project: Any, base_image: str) -> None:
    project.pulumi("config", "set", "image", "127.0.0.1:5000/no-such:1")
    running = project.start("up", "--yes", "--skip-preview")
    lines: list[str] = []
    for line in running.stdout:
        lines.append(line)
        if "deployments/web" in line or "Waiting for app ReplicaSet" in line or "Deployment web creating" in line:
            break
    time.sleep(2)
    asked = time.monotonic()
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert "Resource operation was cancelled" in "".join(lines) + rest
    assert "Traceback" not in rest
    assert state(project)["Deployment"]["initErrors"]
    project.pulumi("config", "set", "image", base_image)
    repaired = project.up()
    assert repaired.code == 0, repaired.output


def test_an_unreachable_cluster_is_told_once_and_at_once(project: Any, tmp_path: Any, kubeconfig: str) -> None:
    content = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "unreachable"
    path.write_text(yaml.safe_dump(content))
    project.environment["KUBECONFIG"] = str(path)
    for command in (["preview"], ["up", "--yes", "--skip-preview"]):
        started = time.monotonic()
        failed = project.pulumi(*command)
        assert failed.code != 0
        assert diagnostics(failed).count("unreachable: https://127.0.0.1:1: Failed to establish a new connection") == 1
        assert "Traceback" not in failed.output
        assert time.monotonic() - started < 20
    project.environment["KUBECONFIG"] = kubeconfig


def test_a_missing_context_is_told_once(project: Any) -> None:
    project.pulumi("config", "set", "kubernetes:context", "nowhere")
    failed = project.preview()
    assert failed.code != 0
    assert diagnostics(failed).count("context 'nowhere' of the configuration is not in the kubeconfig") == 1
    project.pulumi("config", "rm", "kubernetes:context")


EXPLICIT = """
    import pathlib
    import pulumi
    import pulumi_kubernetes as k8s

    config = pulumi.Config()
    provider = k8s.Provider(
        "cluster",
        kubeconfig=pathlib.Path(config.require("kubeconfig")).read_text(),
        namespace=config.require("namespace"),
        enable_config_map_mutable=True,
        kube_client_settings={"qps": 200.0, "burst": 400},
    )
    options = pulumi.ResourceOptions(provider=provider)
    k8s.core.v1.ConfigMap("plain", metadata={"name": "plain"}, data={"tag": config.require("tag")}, opts=options)
    k8s.yaml.ConfigFile("manifest", file="manifest.yaml", opts=options)
    found = k8s.core.v1.Service.get("api", "default/kubernetes", opts=options)
    pulumi.export("port", found.spec.ports[0].port)
"""
MANIFEST = """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: from-yaml}
    data: {since: "2026-01-01", tag: "1"}
    ---
    # nothing
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: from-yaml}
    spec: {clusterIP: None, selector: {app: none}, ports: [{port: 80}]}
"""


def test_a_provider_of_ones_own_with_manifests_and_lookups(
    new_project: NewProject, namespace: str, kubeconfig: str, cluster: Client
) -> None:
    project = new_project(EXPLICIT)
    project.write("manifest.yaml", MANIFEST)
    for key, value in {"kubeconfig": kubeconfig, "namespace": namespace, "tag": "1"}.items():
        project.pulumi("config", "set", key, value)
    made = project.up()
    assert made.code == 0, made.output
    assert project.outputs() == {"port": 443}
    live = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/from-yaml")
    assert live["data"] == {"since": "2026-01-01", "tag": "1"}
    project.pulumi("config", "set", "tag", "2")
    changed = project.up()
    assert "~ 1 updated" in changed.output, changed.output
    destroyed = project.pulumi("destroy", "--yes", "--skip-preview")
    assert destroyed.code == 0, destroyed.output


def test_an_object_is_imported_under_its_id(
    new_project: NewProject, namespace: str, kubeconfig: str, cluster: Client
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    cluster.send("POST", path, body={"metadata": {"name": "found"}, "data": {"a": "1"}})
    project = new_project(
        f"""
        import pulumi
        import pulumi_kubernetes as k8s

        metadata = {{"name": "found", "namespace": "{namespace}"}}
        options = pulumi.ResourceOptions(import_="{namespace}/found")
        k8s.core.v1.ConfigMap("found", metadata=metadata, data={{"a": "1"}}, opts=options)
        """
    )
    project.environment["KUBECONFIG"] = kubeconfig
    made = project.up()
    assert "= 1 imported" in made.output, made.output
    project.pulumi("destroy", "--yes", "--skip-preview")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (
            'k8s.helm.v3.Release("r", chart="c", namespace="default")',
            "kubernetes:helm.sh/v3:Release is not supported by the fallback",
        ),
        (
            'k8s.yaml.v2.ConfigGroup("g", yaml="{}")',
            "the component kubernetes:yaml/v2:ConfigGroup is not supported by the fallback",
        ),
        ('k8s.core.v1.PodList("l", items=[])', "Use the underlying resource type instead"),
    ],
)
def test_what_needs_the_official_plugin_says_so(
    new_project: NewProject, kubeconfig: str, program: str, told: str
) -> None:
    project = new_project(f"import pulumi_kubernetes as k8s\n{program}\n")
    project.environment["KUBECONFIG"] = kubeconfig
    failed = project.preview()
    assert failed.code != 0
    assert told in failed.output, failed.output
