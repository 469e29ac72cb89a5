"""The service of docs/containers.md is accepted by the catalogue, declared as it says, and refused by no rule."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kinds import Microservice
from components.kubernetes_defaults import register_kubernetes_defaults
from components.rollouts import AwaitedRollouts
from components.workload import WorkloadArgs
from policy.declaration import Resource
from policy.declared import Program, collect
from policy.judge import Judge
from policy.model import State
from services.catalog import Overrides, Service, load

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "registry.example/team/report-service@sha256:" + "a" * 64
# Of an environment: the example is one service, and its namespace is declared by nothing.
ELSEWHERE = {"min-ready-seconds"}


SERVICE, SETTINGS = re.findall(
    r"^```yaml\n(.*?)^```", (ROOT / "docs" / "containers.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The example with the files that it names."""
    folder = tmp_path / "services" / "report_service"
    (folder / "config" / "templates").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
    (folder / "service.yaml").write_text(SERVICE)
    (folder / "config" / "gunicorn.conf.py").write_text("workers = 1\n")
    (folder / "config" / "gunicorn.prod.py").write_text("workers = 4\n")
    (folder / "config" / "templates" / "day.html").write_text("<h1>day</h1>\n")
    (folder / "config" / "templates" / "logo.png").write_bytes(b"\x89PNG\x00\xff")
    return tmp_path / "services"


@pytest.fixture
def example(root: Path) -> Service:
    (service,) = load(root)
    return service


def declared(service: Service, stack: str) -> dict[str, list[Resource]]:
    def declare() -> None:
        register_kubernetes_defaults(None, [])
        args = WorkloadArgs(
            service.spec,
            image=IMAGE,
            namespace="slipway-dev",
            rollouts=AwaitedRollouts(None),
            secrets={"SIGNING_KEY": "k"},
            callers=["other"],
            files=service.files,
        )
        Microservice(service.name, args)

    by_kind: dict[str, list[Resource]] = {}
    for resource in collect(Program(ROOT, "slipway", stack, "organization", {}), declare):
        by_kind.setdefault(resource.kind, []).append(resource)
    return by_kind


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_no_rule_refuses_it(example: Service, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example/team")
    resources = [each for listed in declared(example, stack).values() for each in listed]
    report = Judge.of(stack, {}, os.environ).evaluate(resources)
    found = {(each.rule.id, each.problems) for each in report.results if each.state is not State.PASS}
    assert [each for each in found if each[0] not in ELSEWHERE] == []


def test_an_environment_says_it_otherwise(root: Path) -> None:
    (service,) = load(root, Overrides(yaml.safe_load(SETTINGS)["config"]["slipway:services"], {}))
    assert next(file for file in service.files if file.path.endswith("conf.py")).content == b"workers = 4\n"
    assert service.spec.node_selector == {"kubernetes.io/os": "linux", "pool": "reports"}
    assert service.spec.tolerations == []


def test_it_is_declared_as_kubernetes_has_it(example: Service) -> None:
    by_kind = declared(example, "dev")
    (deployment,) = by_kind["Deployment"]
    spec: Any = deployment.inputs["spec"]
    pod = spec["template"]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"]["metadata"]["labels"]["team"] == "finance"
    assert spec["template"]["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    exporter, prepare = pod["initContainers"]
    (main,) = pod["containers"]
    assert (exporter["name"], exporter["restartPolicy"]) == ("exporter", "Always")
    assert exporter["startupProbe"]["httpGet"] == {"path": "/healthy", "port": "exporter"}
    assert exporter["securityContext"] == main["securityContext"]
    assert (prepare["image"], prepare.get("restartPolicy")) == (IMAGE, None)
    assert (prepare["envFrom"], prepare["env"]) == (main["envFrom"], main["env"])
    assert main["command"] == ["python", "-m", "gunicorn"]
    assert [each["name"] for each in main["ports"]] == ["http", "metrics", "admin"]
    assert main["env"][0]["valueFrom"] == {"secretKeyRef": {"name": "report-db", "key": "password"}}
    assert [sorted(each) for each in main["envFrom"]] == [["secretRef"], ["configMapRef", "prefix"], ["configMapRef"]]
    (service,) = by_kind["Service"]
    ports = {each["name"]: each["port"] for each in service.inputs["spec"]["ports"]}
    assert ports == {"http": 80, "metrics": 9090, "admin": 81, "exporter": 9100}
    (network_policy,) = by_kind["NetworkPolicy"]
    opened = [each["port"] for each in network_policy.inputs["spec"]["ingress"][0]["ports"]]
    assert opened == ["http", "metrics", "admin", "exporter"]
    (account,) = by_kind["ServiceAccount"]
    assert "eks.amazonaws.com/role-arn" in account.inputs["metadata"]["annotations"]
    assert all(each.inputs["metadata"]["labels"]["team"] == "finance" for kind in by_kind for each in by_kind[kind]
               if "metadata" in each.inputs)  # fmt: skip
    (constraint,) = pod["topologySpreadConstraints"]
    assert constraint["labelSelector"] == {"matchLabels": {"app.kubernetes.io/name": "report-service"}}
    assert pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["weight"] == 1
    assert pod["tolerations"] == [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}]
    assert (pod["priorityClassName"], pod["nodeSelector"]) == ("business", {"kubernetes.io/os": "linux"})
    assert pod["hostAliases"] == [{"ip": "10.1.2.3", "hostnames": ["printer.example"]}]
    assert pod["dnsConfig"] == {"options": [{"name": "ndots", "value": "2"}]}


def test_its_files_are_mounted_from_objects_named_by_their_content(example: Service) -> None:
    by_kind = declared(example, "dev")
    (deployment,) = by_kind["Deployment"]
    pod: Any = deployment.inputs["spec"]["template"]["spec"]
    (files,) = [each for each in by_kind["ConfigMap"] if ".files-" in each.name]
    assert files.inputs["data"] == {
        "etc.report.gunicorn.conf.py": "workers = 1\n",
        "etc.report.templates.day.html": "<h1>day</h1>\n",
        "etc.report.banner.txt": "Reports of the day\n",
    }
    assert list(files.inputs["binaryData"]) == ["etc.report.templates.logo.png"]
    assert files.inputs["immutable"] is True
    (secret,) = by_kind["Secret"]
    mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["/etc/report/templates/logo.png"]["subPath"] == "etc.report.templates.logo.png"
    assert mounts["/etc/report/signing.key"]["readOnly"] is True
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["files"]["configMap"]["name"] == files.inputs["metadata"]["name"]
    assert volumes["files-of-secrets"]["secret"]["secretName"] == secret.inputs["metadata"]["name"]
    assert {each["name"] for container in (*pod["containers"], *pod["initContainers"])
            for each in container["volumeMounts"]} == set(volumes)  # fmt: skip


def test_its_claim_is_protected_and_belongs_to_it(example: Service) -> None:
    by_kind = declared(example, "dev")
    (claim,) = by_kind["PersistentVolumeClaim"]
    assert claim.options.protect
    assert claim.inputs["metadata"]["name"] == "report-service-archive"
    assert claim.inputs["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    (deployment,) = by_kind["Deployment"]
    volumes = {each["name"]: each for each in deployment.inputs["spec"]["template"]["spec"]["volumes"]}
    assert volumes["archive"]["persistentVolumeClaim"] == {"claimName": "report-service-archive"}
