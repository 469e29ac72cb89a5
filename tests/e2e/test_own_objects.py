"""Objects of a team's own, beside those that Slipway makes: they go up, come back in a rollback, and are verified."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

UP = ("up", "-s", "e2e", "--yes")
PROGRAM = "__main__.py"
EXPORTS = "for name, value in outputs.items():"
# As somebody would write it who has read nothing of ours.
RAW = """
import pulumi_kubernetes as k8s

labels = {
    "app.kubernetes.io/name": "greeting",
    "app.kubernetes.io/part-of": "slipway",
    "app.kubernetes.io/managed-by": "pulumi",
}
greeting = k8s.core.v1.ConfigMap(
    "greeting",
    metadata=k8s.meta.v1.ObjectMetaArgs(name="greeting", namespace=environment.namespace, labels=labels),
    data={"text": "good morning"},
    opts=pulumi.ResourceOptions(provider=environment.kubernetes),
)
pulumi.export("greeting", greeting.data.apply(lambda data: data["text"]))

"""
MORE = """
k8s.core.v1.ConfigMap(
    "more",
    metadata={"name": "more", "labels": labels, "namespace": environment.namespace},
    opts=pulumi.ResourceOptions(provider=environment.kubernetes),
)
"""


def config_map(project: Any, name: str) -> Any:
    return project.get(f"/api/v1/namespaces/{project.namespace}/configmaps/{name}")


@pytest.mark.thorough
def test_a_raw_object_in_the_program_comes_back_with_the_rest(released: Any) -> None:
    released.replace(PROGRAM, EXPORTS, RAW + EXPORTS)
    assert (added := released.slipway(*UP)).code == 0, added.output
    assert config_map(released, "greeting")["data"] == {"text": "good morning"}
    assert released.outputs()["greeting"] == "good morning"
    # The next release breaks: its own object is another, there is one more, and a service runs out of memory.
    released.replace(PROGRAM, "good morning", "good evening")
    released.replace(PROGRAM, "greeting = ", MORE + "greeting = ")
    released.replace("services/user_service/service.yaml", "memory: 128Mi", "memory: 12Mi")
    failed = released.slipway(*UP)
    assert failed.code == 4, failed.output
    assert "rolled back to #2" in failed.output
    assert config_map(released, "greeting")["data"] == {"text": "good morning"}
    assert config_map(released, "more")["reason"] == "NotFound"
    assert released.outputs()["greeting"] == "good morning"
    assert released.slipway("verify", "-s", "e2e").code == 0
    # Somebody deletes it; and a person goes back further, to before it was there.
    back = released.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert back.code == 0, back.output
    assert config_map(released, "greeting")["reason"] == "NotFound"
    assert "greeting" not in released.outputs()


RESOURCES = Path("services/user_service/resources.py")
GROUP = "GROUP"  # of the custom resource; one for each run, since its definition is of the whole cluster
TEXT = """
import pulumi
import pulumi_kubernetes as kubernetes

from components.service_resources import Service


def resources(service: Service) -> None:
    kubernetes.core.v1.PersistentVolumeClaim(
        "exports",
        spec={
            "access_modes": ["ReadWriteOnce"],
            "storage_class_name": "",
            "volume_name": "GROUP",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    )
    kubernetes.batch.v1.CronJob(
        "nightly",
        spec={
            "schedule": "0 3 * * *",
            "job_template": {
                "spec": {
                    "backoff_limit": 0,
                    "active_deadline_seconds": 60,
                    "template": {"spec": {"containers": [{"command": ["python", "-c", "raise SystemExit(3)"]}]}},
                }
            },
        },
    )
    definition = kubernetes.apiextensions.v1.CustomResourceDefinition(
        "backups",
        metadata={"name": "backups.GROUP"},
        spec={
            "group": "GROUP",
            "scope": "Namespaced",
            "names": {"kind": "Backup", "plural": "backups", "singular": "backup"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "open_apiv3_schema": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}
                    },
                }
            ],
        },
    )
    kubernetes.apiextensions.CustomResource(
        "sunday",
        api_version="GROUP/v1",
        kind="Backup",
        spec={"keep": 7},
        opts=pulumi.ResourceOptions(depends_on=[definition]),
    )
    kubernetes.helm.v4.Chart("greeter", chart=str(service.folder / "chart"), values={"text": "good morning"})
"""
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: greeter\nversion: 1.0.0\n",
    "values.yaml": "text: nothing\n",
    "templates/text.yaml": """
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-text
  namespace: {{ .Release.Namespace }}
data:
  text: {{ .Values.text | quote }}
""",
}


@pytest.fixture
def with_resources(released: Any) -> Iterator[Any]:
    """user-service has a `resources.py` with one of each: a claim, a CronJob, a custom resource, a chart."""
    group = f"{released.namespace}.example"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": group},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/tmp/{group}"},
        },
    }
    file = released.folder / "volume.json"
    file.write_text(json.dumps(volume))
    assert (made := released.run("kubectl", "create", "-f", str(file))).code == 0, made.output
    file.unlink()
    (released.folder / RESOURCES).write_text(TEXT.replace(GROUP, group))
    for name, text in CHART.items():
        path = released.folder / RESOURCES.parent / "chart" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield released
    released.run("kubectl", "delete", "crd", f"backups.{group}", "--ignore-not-found", "--wait=false")
    released.run("kubectl", "delete", "persistentvolume", group, "--ignore-not-found", "--wait=false")


def edit(project: Any, old: str, new: str) -> None:
    project.replace(str(RESOURCES), old, new)


class Live:
    """The objects of a `resources.py` as they are in the cluster."""

    def __init__(self, project: Any) -> None:
        self._project, self._group = project, f"{project.namespace}.example"

    def _get(self, root: str, path: str) -> Any:
        return self._project.get(f"{root}/namespaces/{self._project.namespace}/{path}")

    @property
    def backup_name(self) -> str:
        """With its group: `kubectl` remembers for a while what other clusters and runs called so."""
        return f"backups.v1.{self._group}/sunday"

    @property
    def schedule(self) -> str:
        return str(self._get("/apis/batch/v1", "cronjobs/nightly").get("spec", {}).get("schedule"))

    @property
    def backup(self) -> Any:
        return self._get(f"/apis/{self._group}/v1", "backups/sunday").get("spec")

    @property
    def claim(self) -> Any:
        return self._get("/api/v1", "persistentvolumeclaims/exports")["metadata"]["uid"]

    @property
    def text(self) -> Any:
        return self._get("/api/v1", "configmaps/greeter-text").get("data")


@pytest.mark.thorough
def test_what_a_service_declares_of_its_own_is_looked_after_like_the_rest(with_resources: Any) -> None:
    project, live = with_resources, Live(with_resources)
    edit(project, 'CronJob(\n        "nightly"', 'CronJob(\n        None["nightly"]')
    wrong = project.slipway(*UP)
    assert wrong.code == 2, wrong.output
    assert f"{RESOURCES}:" in wrong.output, wrong.output
    assert "TypeError: 'NoneType' object is not subscriptable" in wrong.output
    edit(project, 'None["nightly"]', '"nightly"')
    preview = project.slipway("preview", "-s", "e2e")
    assert preview.code == 0, preview.output
    assert "outside any service" not in preview.output
    assert (added := project.slipway(*UP)).code == 0, added.output
    assert (live.schedule, live.backup, live.text) == ("0 3 * * *", {"keep": 7}, {"text": "good morning"})
    deadline = time.monotonic() + 60  # no update waits for a claim
    while (verified := project.slipway("verify", "-s", "e2e")).code and "it is pending" in verified.output:
        assert time.monotonic() < deadline, verified.output
    assert verified.code == 0, verified.output
    assert project.slipway("drift", "-s", "e2e").output == "e2e: no drift.\n"
    claim = live.claim

    # What somebody has changed by hand is drift, and is no obstacle to the next update.
    project.kubectl("patch", "cronjob/nightly", "--type=merge", "--patch", '{"spec": {"schedule": "5 5 * * *"}}')
    project.kubectl("patch", live.backup_name, "--type=merge", "--patch", '{"spec": {"keep": 1}}')
    project.kubectl("patch", "configmap/greeter-text", "--type=merge", "--patch", '{"data": {"text": "by hand"}}')
    drift = project.slipway("drift", "-s", "e2e")
    assert drift.code == 6, drift.output
    assert all(each in drift.output for each in ("spec.schedule", "spec.keep", "data.text")), drift.output
    edit(project, "0 3 * * *", "0 4 * * *")
    edit(project, '"keep": 7', '"keep": 8')
    edit(project, "good morning", "good day")
    assert (updated := project.slipway(*UP)).code == 0, updated.output
    assert (live.schedule, live.backup, live.text) == ("0 4 * * *", {"keep": 8}, {"text": "good day"})

    # A bad release takes all of it back, the service and its own objects.
    edit(project, "0 4 * * *", "0 5 * * *")
    edit(project, '"keep": 8', '"keep": 9')
    edit(project, "good day", "good evening")
    project.replace("services/user_service/service.yaml", "memory: 128Mi", "memory: 12Mi")
    failed = project.slipway(*UP)
    assert failed.code == 4, failed.output
    assert "rolled back to #3" in failed.output
    assert (live.schedule, live.backup, live.text) == ("0 4 * * *", {"keep": 8}, {"text": "good day"})
    assert live.claim == claim
    project.replace("services/user_service/service.yaml", "memory: 12Mi", "memory: 128Mi")

    # What does not do its work is no verified service.
    project.kubectl("create", "job", "nightly-now", "--from=cronjob/nightly")
    refused = '{"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NoSpace"}]}}'
    project.kubectl("patch", live.backup_name, "--subresource=status", "--type=merge", "--patch", refused)
    deadline = time.monotonic() + 60
    while "nightly-now failed" not in (verified := project.slipway("verify", "-s", "e2e")).output:
        assert time.monotonic() < deadline, verified.output
        time.sleep(1)
    assert verified.code == 1
    assert "user-service: failed, Backup sunday: its condition Ready is False: NoSpace" in verified.output
    assert "CronJob nightly: its last Job nightly-now failed: BackoffLimitExceeded" in verified.output

    # Further back, what may hold data stays.
    back = project.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert back.code == 0, back.output
    assert live.claim == claim
    assert (live.schedule, live.text) == ("None", None)
