"""A mixed estate, as a team has it, goes up, is updated, broken, rolled back and verified: services in Python, Go and
Node, a worker, a cron job, a migration, a volume, an image that is built elsewhere and a custom resource.
"""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import languages

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

DOCKERFILE = """ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE} AS test
COPY *.py ./
RUN python3 -m py_compile *.py
FROM ${BASE_IMAGE} AS runtime
ENV PYTHONUNBUFFERED=1
WORKDIR /srv
COPY *.py ./
USER 10001:10001
CMD ["python3", "main.py"]
"""
# It says how often it has been started on this volume.
WEB = """import http.server, os
starts = open("/data/starts", "a+")
starts.write("started\\n"); starts.flush()
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"version 1")
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
SERVICES = {
    "web": (
        "health: {tcp: {}, ready: /}\nchecks: [{get: /, has: version}]\nenv: {LOG_LEVEL: info}\n"
        "volumes: [{name: data, mountPath: /data, persistentVolumeClaim: {storageClassName: '', volumeName: VOLUME,"
        " resources: {requests: {storage: 16Mi}}}}]\nrollout: {terminationGracePeriodSeconds: 2}\n"
        "migration: {command: [python3, migrate.py], activeDeadlineSeconds: 20}\n",
        {"main.py": WEB, "migrate.py": "print('adding column total')\n"},
    ),
    "mailer": (
        "kind: Worker\nhealth: {live: {exec: [test, -e, /tmp/alive]}}\nrollout: {minReadySeconds: 2}\n",
        {"main.py": "import pathlib, time\npathlib.Path('/tmp/alive').touch()\nwhile True: time.sleep(60)\n"},
    ),
    "nightly": (
        "kind: CronJob\ncronJob: {schedule: '* * * * *', activeDeadlineSeconds: 20}\n",
        {"main.py": "raise SystemExit('no disk')\n"},
    ),
}
# Of an image that is built elsewhere.
CLOCK = """name: clock
image: IMAGE
command: [node, --eval]
args:
  - |
    require("http").createServer((_, answer) => answer.end(`clock ${Date.now()}`)).listen(process.env.PORT);
    process.on("SIGTERM", () => process.exit());
health: {tcp: {}}
checks: [{get: /, has: clock}]
"""
RESOURCES = """import pulumi
import pulumi_kubernetes as kubernetes
from components.service_resources import Service


def resources(service: Service) -> None:
    schema = {"type": "object", "x_kubernetes_preserve_unknown_fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"open_apiv3_schema": schema}}
    definition = kubernetes.apiextensions.v1.CustomResourceDefinition(
        "mailboxes",
        metadata={"name": "mailboxes.GROUP"},
        spec={
            "group": "GROUP",
            "scope": "Namespaced",
            "names": {"kind": "Mailbox", "plural": "mailboxes", "singular": "mailbox"},
            "versions": [version],
        },
    )
    kubernetes.apiextensions.CustomResource(
        "letters",
        api_version="GROUP/v1",
        kind="Mailbox",
        spec={"size": 1},
        opts=pulumi.ResourceOptions(depends_on=[definition]),
    )
"""
FAILING_MIGRATION = "raise SystemExit('column vat exists already')\n"


@pytest.fixture
def estate(project: Any, exports: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    """A project with these services alone; nothing is deployed yet."""
    for name in ("user_service", "order_service", "kit"):
        shutil.rmtree(project.folder / "services" / name)
    for name, (more, files) in SERVICES.items():
        folder = project.folder / "services" / name
        folder.mkdir()
        (folder / "service.yaml").write_text(f"name: {name}\n{more}".replace("VOLUME", project.namespace))
        for file, text in {"Dockerfile": DOCKERFILE, **files}.items():
            (folder / file).write_text(text)
    group = f"{project.namespace}.example"
    (project.folder / "services/mailer/resources.py").write_text(RESOURCES.replace("GROUP", group))
    for name in ("go", "node"):
        made = project.slipway("new", f"{name}-greeter", "--template", name)
        assert made.code == 0, made.output
    arguments = {name: languages.build_arguments(name, exports, tmp_path) for name in ("go", "node")}
    (project.folder / "services/clock").mkdir()
    clock = CLOCK.replace("IMAGE", arguments["node"]["NODE_IMAGE"])
    (project.folder / "services/clock/service.yaml").write_text(clock)
    settings = {f"{name}-greeter": {"build": {"args": each}} for name, each in arguments.items()}
    project.configure(f"  slipway:services: {json.dumps(settings)}")
    project.set_databases({})
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": project.namespace},
        "spec": {
            "capacity": {"storage": "16Mi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": str(tmp_path / "volume")},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume").chmod(0o777)
    (tmp_path / "volume.json").write_text(json.dumps(volume))
    assert (created := project.run("kubectl", "create", "-f", str(tmp_path / "volume.json"))).code == 0, created.output
    yield project
    project.run("kubectl", "delete", "crd", f"mailboxes.{group}", "--ignore-not-found", "--wait=false")
    project.run("kubectl", "delete", "persistentvolume", project.namespace, "--wait=false")


def greetings(project: Any) -> list[str]:
    """What Go and Node say."""
    said = []
    for name in ("go-greeter", "node-greeter"):
        with urllib.request.urlopen(f"{project.url(name)}/hello", timeout=10) as response:  # noqa: S310 (of the lab)
            said.append(json.load(response)["greeting"])
    return said


def mailbox_size(project: Any) -> int:
    path = f"/apis/{project.namespace}.example/v1/namespaces/{project.namespace}/mailboxes/letters"
    return int(project.get(path)["spec"]["size"])


def migrations(project: Any) -> dict[str, str]:
    """Of each migration in the cluster: whether it is `Complete`, `Failed` or `Suspended`, by the name of its Job."""
    label = "labelSelector=slipway.dev/migration"
    jobs = project.get(f"/apis/batch/v1/namespaces/{project.namespace}/jobs?{label}")["items"]
    found = {each["metadata"]["name"]: each["status"].get("conditions", []) for each in jobs}
    return {name: next((each["type"] for each in conditions[-1:]), "") for name, conditions in found.items()}


def pods_of(project: Any, name: str) -> set[str]:
    pods = project.get(f"/api/v1/namespaces/{project.namespace}/pods?labelSelector=app.kubernetes.io/name={name}")
    return {each["metadata"]["uid"] for each in pods["items"] if "deletionTimestamp" not in each["metadata"]}


def last_job_is_named(project: Any) -> str:
    """What verify says once the cron job, which is due every minute, has run."""
    label = "labelSelector=app.kubernetes.io/name=nightly"
    jobs, deadline = f"/apis/batch/v1/namespaces/{project.namespace}/jobs?{label}", time.monotonic() + 100
    while not any(each["status"].get("failed") for each in project.get(jobs)["items"]):
        assert time.monotonic() < deadline, "no Job of the cron job failed within 100 s"
        time.sleep(1)
    result = project.slipway("verify", "-s", "e2e")
    assert (result.code, "nightly: failed" in result.output) == (1, True), result.output
    return str(result.output)


def test_a_mixed_estate_goes_up_is_broken_rolled_back_and_verified(estate: Any, tmp_path: Path) -> None:
    first = estate.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    ((migration, state),) = migrations(estate).items()
    assert state == "Complete"
    assert greetings(estate) == ["Hello, world!", "Hello, world!"]
    assert mailbox_size(estate) == 1
    before = pods_of(estate, "web")

    estate.replace("services/web/migrate.py", "print('adding column total')", FAILING_MIGRATION.strip())
    estate.replace("services/web/main.py", "version 1", "version 2")
    broken = estate.slipway("up", "-s", "e2e", "--yes")
    assert broken.code == 4, broken.output
    for words in ("the migration of web failed", "exit code 1", "column vat exists already", "runs no migrations"):
        assert words in broken.output
    assert pods_of(estate, "web") == before
    assert migrations(estate) == {migration: "Complete"}

    # A good release of nearly all of them.
    estate.replace("services/web/migrate.py", FAILING_MIGRATION.strip(), "print('adding column vat')")
    for file in ("main.go", "main_test.go"):
        text = estate.folder / "services/go_greeter" / file
        text.write_text(text.read_text().replace("Hello, ", "Good day, "))
    estate.replace("services/mailer/resources.py", '"size": 1', '"size": 2')
    second = estate.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert set(migrations(estate).values()) == {"Complete"}
    assert migration not in migrations(estate)
    assert greetings(estate) == ["Good day, world!", "Hello, world!"]

    back = estate.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert back.output.index("The migrations since") < back.output.index("is back at")
    assert migrations(estate) == {migration: "Suspended"}
    assert greetings(estate) == ["Hello, world!", "Hello, world!"]
    assert mailbox_size(estate) == 1
    drift = estate.slipway("drift", "-s", "e2e")
    assert drift.code == 0, drift.output
    assert "its log ends with: no disk" in last_job_is_named(estate)
    stack = json.loads(estate.slipway("verify", "-s", "e2e", "--json").output)
    services = {each["service"]: each["ok"] for each in stack["services"]}
    assert services.pop("nightly") is False
    assert services == dict.fromkeys(["clock", "go-greeter", "mailer", "node-greeter", "web"], True)
    # The first release, the second, the rollback: all of them on the one volume.
    assert (tmp_path / "volume/starts").read_text().count("started") == 3


@pytest.mark.thorough
def test_a_custom_resource_goes_back_with_a_service_that_does_not_start(estate: Any) -> None:
    """The one in Go, which passes its unit tests."""
    first = estate.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    estate.replace("services/go_greeter/main.go", "ctx, stop :=", 'exit(errors.New("no licence"))\n\tctx, stop :=')
    estate.replace("services/mailer/resources.py", '"size": 1', '"size": 2')
    failed = estate.slipway("up", "-s", "e2e", "--yes")
    assert failed.code == 4, failed.output
    assert "go-greeter" in failed.output
    assert "no licence" in failed.output
    assert (greetings(estate)[0], mailbox_size(estate)) == ("Hello, world!", 1)


@pytest.mark.thorough
def test_a_destructive_migration_is_gone_back_over_only_when_that_is_said(estate: Any) -> None:
    assert estate.slipway("up", "-s", "e2e", "--yes").code == 0
    ((migration, _),) = migrations(estate).items()
    estate.replace(
        "services/web/service.yaml", "activeDeadlineSeconds: 20}", "activeDeadlineSeconds: 20, destructive: true}"
    )
    estate.replace("services/web/migrate.py", "adding column total", "dropping column total")
    second = estate.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    refused = estate.slipway("rollback", "-s", "e2e", "--yes")
    assert refused.code == 1, refused.output
    assert "declared destructive" in refused.output
    done = estate.slipway("rollback", "-s", "e2e", "--yes", "--include-stateful")
    assert done.code == 0, done.output

    # The same image again, with a setting of its pods alone: what ran once runs no more.
    estate.replace("services/web/service.yaml", ", destructive: true}", "}")
    estate.replace("services/web/migrate.py", "dropping column total", "adding column total")
    estate.replace("services/web/service.yaml", "GracePeriodSeconds: 2}", "GracePeriodSeconds: 3}")
    forward = estate.slipway("up", "-s", "e2e", "--yes")
    assert forward.code == 0, forward.output
    assert migrations(estate) == {migration: "Suspended"}
