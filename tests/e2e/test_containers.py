"""A service with further ports, files, volumes and containers goes up, is changed, broken, rolled back and verified."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

LOGO = b"\x89PNG\r\n\x00\xff"
# In place of `scratch: {/data: 64Mi}`: the users are in a volume that outlives the pods.
MORE = """\
command: [python, -m, gunicorn]
args: [--log-level, info]
envFrom: [{configMapRef: {name: region}, prefix: REGION_}]
files:
  /etc/user/motd.txt: pages/motd.txt
  /etc/user/signing.key: {secret: SIGNING_KEY}
volumes:
  - name: data
    mountPath: /data
    persistentVolumeClaim: {storageClassName: "", volumeName: VOLUME, resources: {requests: {storage: 64Mi}}}
  - {name: shared, mountPath: /shared, emptyDir: {sizeLimit: 1Mi}}
initContainers:
  - name: prepare
    command: [python, -c, "import os; open('/shared/greeting', 'w').write(os.environ['GREETING'])"]
    resources: {cpu: 10m, memory: 64Mi}
    volumeMounts: [{name: shared, mountPath: /shared}]
sidecars:
  - name: pages
    command: [python, -m, http.server, "9090", --directory, /pages]
    files: {/pages/www: pages}
    resources: {cpu: 10m, memory: 64Mi}
    ports: [{name: pages, containerPort: 9090}]
    volumeMounts: [{name: shared, mountPath: /pages/shared, readOnly: true}]
    startupProbe: {httpGet: {path: /www/motd.txt, port: pages}, periodSeconds: 1, failureThreshold: 30}
    livenessProbe: {tcpSocket: {port: pages}, periodSeconds: 10, failureThreshold: 6}
    readinessProbe: {httpGet: {path: /www/motd.txt, port: pages}, periodSeconds: 5, timeoutSeconds: 3}
rollout: {terminationGracePeriodSeconds: 2}    # http.server does not end by SIGTERM
labels: {team: people}
annotations: {example.com/contact: people}
serviceAccount: {annotations: {example.com/role: reader}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: batch, operator: Exists, effect: NoSchedule}]
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, preference: {matchExpressions: [{key: disk, operator: In, values: [ssd]}]}}
topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway}
hostAliases: [{ip: 10.1.2.3, hostnames: [printer.example]}]
dnsConfig: {options: [{name: ndots, value: "2"}]}
"""


@pytest.fixture
def volume(project: Any, tmp_path: Path) -> Iterator[str]:
    """A namespace that somebody else manages, with a ConfigMap in it, and a PersistentVolume that is a local folder."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    name = project.namespace
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "region", "namespace": name},
            "data": {"NAME": "north"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "64Mi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(folder)},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        },
    ]
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    made = project.run("kubectl", "create", "-f", str(file))
    assert made.code == 0, made.output
    yield name
    project.run("kubectl", "delete", "persistentvolume", name, "--wait=false")


def answer(url: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 (of the lab)
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return bytes(response.read())


@pytest.mark.thorough
def test_ports_files_volumes_and_containers_through_a_release_and_back(project: Any, volume: str) -> None:
    settings = "  user-service:SIGNING_KEY: signed\n  slipway:services: {user-service: {env: {GREETING: hello}}}"
    project.configure(settings, namespace={"name": volume, "managed": False})
    assert project.run("pulumi", "stack", "init", "e2e").code == 0
    plain = project.slipway("up", "-s", "e2e", "--yes")
    assert plain.code == 0, plain.output
    folder = project.folder / "services" / "user_service"
    (folder / "pages").mkdir()
    (folder / "pages" / "motd.txt").write_text("first day\n")
    (folder / "pages" / "logo.png").write_bytes(LOGO)
    with (folder / ".dockerignore").open("a") as ignored:
        ignored.write("\npages/\n")
    file = "services/user_service/service.yaml"
    project.replace(file, "scratch: {/data: 64Mi}", "#")
    project.replace(file, "checks:\n", "checks:\n  - {get: /www/motd.txt, port: pages, has: day}\n")
    with (project.folder / file).open("a") as written:
        written.write("\n" + MORE.replace("VOLUME", volume))

    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    url = project.url("user-service")
    assert answer(f"{url}:9090/www/motd.txt") == b"first day\n"
    assert answer(f"{url}:9090/www/logo.png") == LOGO
    assert answer(f"{url}:9090/shared/greeting") == b"hello"
    made = json.loads(answer(f"{url}/users", {"name": "Ada", "email": "ada@example.com"}))
    deployment = project.deployments()["user-service"]
    pod = deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["strategy"]["type"] == "Recreate"
    assert [each["name"] for each in pod["initContainers"]] == ["pages", "prepare"]
    script = "cat /etc/user/motd.txt /etc/user/signing.key; echo; echo $REGION_NAME; cat /etc/hosts"
    read = project.run("kubectl", "-n", volume, "exec", "deployment/user-service", "--", "sh", "-c", script)
    assert "first day\nsigned\nnorth\n" in read.output
    assert "printer.example" in read.output

    (folder / "pages" / "motd.txt").write_text("second day\n")
    second = project.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert answer(f"{url}:9090/www/motd.txt") == b"second day\n"
    assert made["id"] in [each["id"] for each in json.loads(answer(f"{url}/users"))["users"]]

    project.replace(file, '"9090", --directory', '"9090", --no-such-option')
    broken = project.slipway("up", "-s", "e2e", "--yes")
    assert broken.code == 4, broken.output
    flat = " ".join(broken.output.split())
    assert "sidecar pages of user-service crashes" in flat
    assert answer(f"{url}:9090/www/motd.txt") == b"second day\n"

    back = project.slipway("rollback", "-s", "e2e", "--to", "2", "--yes")
    assert back.code == 0, back.output
    assert answer(f"{url}:9090/www/motd.txt") == b"first day\n"
    assert made["id"] in [each["id"] for each in json.loads(answer(f"{url}/users"))["users"]]
    verified = project.slipway("verify", "-s", "e2e")
    assert verified.code == 0, verified.output

    before = project.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert before.code == 0, before.output
    assert project.deployments()["user-service"]["spec"]["strategy"]["type"] == "RollingUpdate"
    claims = project.get(f"/api/v1/namespaces/{volume}/persistentvolumeclaims")["items"]
    assert [each["status"]["phase"] for each in claims] == ["Bound"], "a claim that holds data stays"


@pytest.mark.thorough
def test_a_service_that_answers_404_is_not_said_to_refuse_connections(project: Any) -> None:
    """The kubelet reports 25 answers of a pod, which are used up before this one listens."""
    file = "services/user_service/service.yaml"
    project.replace(file, "health: {startup: /healthz,", "health: {startupTimeoutSeconds: 100, startup: /nothing,")
    with (project.folder / file).open("a") as written:
        written.write(
            "\ncommand: [sh, -c, sleep 40; exec python -m gunicorn]\nrollout: {progressDeadlineSeconds: 70}\n"
        )
    assert project.run("pulumi", "stack", "init", "e2e").code == 0
    failed = project.slipway("up", "-s", "e2e", "--yes")
    assert failed.code != 0, failed.output
    flat = " ".join(failed.output.split())
    assert "does not pass its startup probe: GET /nothing on port http answers 404" in flat, failed.output
