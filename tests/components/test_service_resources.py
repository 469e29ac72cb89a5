"""`resources.py` of a service: what is filled in, that it passes the policies, and what is refused, with its line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.environment import Environment, EnvironmentArgs
from components.release import release
from policy.declaration import Resource
from policy.declared import Program, collect
from policy.judge import Judge
from policy.model import State
from tests.committed_settings import committed_settings
from tests.example import SERVICES

# What a program that is refused has declared is dropped.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
ROOT = Path(__file__).resolve().parents[2]
# The first example of the documentation, as somebody copies it.
EXAMPLE = (ROOT / "docs" / "resources.md").read_text().split("```python\n")[1].split("```")[0]
CLASSES = """\
import pulumi_kubernetes as k8s


def resources(service):
    k8s.batch.v1.CronJob(
        "nightly-export",
        metadata=k8s.meta.v1.ObjectMetaArgs(labels={"team": "exports"}),
        spec=k8s.batch.v1.CronJobSpecArgs(
            schedule="0 3 * * *",
            job_template=k8s.batch.v1.JobTemplateSpecArgs(
                spec=k8s.batch.v1.JobSpecArgs(
                    template=k8s.core.v1.PodTemplateSpecArgs(
                        spec=k8s.core.v1.PodSpecArgs(
                            containers=[k8s.core.v1.ContainerArgs(name="export", image=service.image)],
                            security_context=k8s.core.v1.PodSecurityContextArgs(run_as_user=10002),
                        )
                    )
                )
            ),
        ),
    )
    k8s.apiextensions.CustomResource("sunday", api_version="a.example/v1", kind="Backup", spec={"every_day": 7})
    k8s.rbac.v1.ClusterRole("reader", rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["get"]}])
"""
MICROSERVICE = "slipway:index:Microservice$"

Collect = Callable[[str], list[Resource]]


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Everything that the program declares where user-service has this `resources.py`."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example/team")
    monkeypatch.delenv("SLIPWAY_BASE_IMAGE", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    secrets = {f"{name}:DATABASE_URL": "sqlite:////data/x.db" for name in SERVICES}
    program = Program(ROOT, "slipway", "dev", "organization", committed_settings("dev") | secrets, tuple(secrets))

    def run(text: str, *, of: str = "user-service") -> list[Resource]:
        folder = tmp_path / of.replace("-", "_")
        folder.mkdir()
        (folder / "Dockerfile").write_text("FROM scratch\n")
        (folder / "resources.py").write_text(text)

        def main() -> None:
            args = EnvironmentArgs.from_config()
            services = tuple(replace(each, folder=folder) if each.name == of else each for each in args.services)
            release(Environment("dev", replace(args, services=services)))

        return collect(program, main)

    return run


def found(resources: list[Resource], type_: str, name: str) -> Any:
    (one,) = [each for each in resources if (each.type, each.name) == (f"kubernetes:{type_}", name)]
    return one


def test_a_few_lines_pass_the_policies(declared: Collect) -> None:
    resources = declared(EXAMPLE)
    report = Judge.of("dev", {}, os.environ).evaluate(resources)
    broken = [each for each in report.results if each.state in (State.VIOLATION, State.UNDECIDED)]
    assert [(each.rule.id, str(each.resource.ref)) for each in broken] == []
    job = found(resources, "batch/v1:CronJob", "nightly-export")
    assert MICROSERVICE in job.urn
    assert job.inputs["metadata"]["name"] == "nightly-export"
    assert job.inputs["metadata"]["namespace"] == "slipway-dev"
    assert job.inputs["metadata"]["labels"]["app.kubernetes.io/name"] == "user-service"
    assert job.inputs["metadata"]["annotations"] == {"pulumi.com/patchForce": "true"}
    pod = job.inputs["spec"]["jobTemplate"]["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "nightly-export", (
        "else it gets the service's requests"
    )
    (container,) = pod["spec"]["containers"]
    assert container["image"].startswith("registry.example/team/user-service@sha256:")
    assert (
        found(resources, "core/v1:PersistentVolumeClaim", "user-exports").inputs["metadata"]["namespace"]
        == "slipway-dev"
    )


def test_the_sdks_classes_and_custom_resources_are_filled_in_too(declared: Collect) -> None:
    resources = declared(CLASSES)
    job = found(resources, "batch/v1:CronJob", "nightly-export")
    assert job.inputs["metadata"]["labels"]["team"] == "exports"
    assert job.inputs["metadata"]["labels"]["app.kubernetes.io/part-of"] == "slipway"
    pod = job.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 10002
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    backup = found(resources, "a.example/v1:Backup", "sunday")
    assert backup.inputs["metadata"]["namespace"] == "slipway-dev"
    assert backup.inputs["spec"] == {"every_day": 7}
    assert "namespace" not in found(resources, "rbac.authorization.k8s.io/v1:ClusterRole", "reader").inputs["metadata"]


WRONG = {
    "def resources(service):\n    raise KeyError('x')\n": ":2: KeyError: 'x'",
    "def resources(service)\n": ":1: SyntaxError: expected ':'",
    "import nowhere\n": ":1: ModuleNotFoundError: No module named 'nowhere'",
    "def resource(service):\n    pass\n": ": it has no function `resources`; "
    "allowed: `def resources(service: Service) -> None`",
    "import sys\ndef resources(service):\n    sys.exit(1)\n": ":3: SystemExit: 1",
    "from pulumi_kubernetes import core\ndef resources(service):\n"
    "    core.v1.Service('order-service', spec={})\n": ":3: Service order-service already belongs to order-service; "
    "give it another name",
    "from pulumi_kubernetes import core\ndef resources(service):\n"
    "    core.v1.Service(service.name, spec={})\n": ":3: Service user-service already belongs to user-service; "
    "give it another name",
    "from pulumi_kubernetes import core\ndef resources(service):\n"
    "    core.v1.ConfigMap('x', metadata={'labels': {'app.kubernetes.io/name': 'order-service'}})\n": ":3: its label "
    "app.kubernetes.io/name names another service, order-service",
    "from pulumi_kubernetes import apps\ndef resources(service):\n"
    "    apps.v1.StatefulSet('x', spec={'template': {'metadata': {'labels': service.labels}}})\n": ":3: its pods have "
    "the label app.kubernetes.io/name=user-service, so that service's requests would reach them; use another value, "
    "or no label: then it is the name of the object",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused_with_its_line(declared: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(pulumi.RunError) as raised:
        declared(text)
    file = tmp_path / "user_service" / "resources.py"
    assert str(raised.value) == f"Configuration error: {file}{WRONG[text]}"


def test_nothing_is_sent_to_the_engine_where_one_is_wrong(declared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    register = pulumi.runtime.mocks.MockMonitor.RegisterResource

    def keep(self: Any, request: Any) -> Any:
        sent.append(request.type)
        return register(self, request)  # type: ignore[no-untyped-call]

    monkeypatch.setattr("policy.declared._Monitor.RegisterResource", keep)
    with pytest.raises(pulumi.RunError):
        declared("def resources(service):\n    raise KeyError('x')\n")
    assert set(sent) <= {"pulumi:pulumi:Stack"}
