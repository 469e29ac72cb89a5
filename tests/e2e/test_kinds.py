"""A service with a migration, a worker and a cron job, as a team has them: up, broken, rolled back, verified."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import pytest

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
WEB = """import http.server, os
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"version 1")
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
SERVICES = {
    "web": (
        "health: {tcp: {}, ready: /}\nchecks: [{get: /, has: version}]\nenv: {LOG_LEVEL: info}\n"
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
FAILING_MIGRATION = "raise SystemExit('column vat exists already')\n"


@pytest.fixture
def estate(project: Any) -> Any:
    """A project with these services alone; nothing is deployed yet."""
    for name in ("user_service", "order_service"):
        shutil.rmtree(project.folder / "services" / name)
    for name, (more, files) in SERVICES.items():
        folder = project.folder / "services" / name
        folder.mkdir()
        (folder / "service.yaml").write_text(f"name: {name}\n{more}")
        for file, text in {"Dockerfile": DOCKERFILE, **files}.items():
            (folder / file).write_text(text)
    file = project.folder / "Pulumi.e2e.yaml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "DATABASE_URL" not in line))
    return project


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
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        result = project.slipway("verify", "-s", "e2e")
        if "nightly: failed" in result.output:
            assert result.code == 1
            return str(result.output)
        time.sleep(5)
    raise AssertionError("no Job of the cron job failed within 100 s")


def test_a_mixed_estate_goes_up_is_broken_rolled_back_and_verified(estate: Any) -> None:
    first = estate.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    ((migration, state),) = migrations(estate).items()
    assert state == "Complete"
    before = pods_of(estate, "web")

    estate.replace("services/web/migrate.py", "print('adding column total')", FAILING_MIGRATION.strip())
    estate.replace("services/web/main.py", "version 1", "version 2")
    broken = estate.slipway("up", "-s", "e2e", "--yes")
    assert broken.code == 4, broken.output
    for words in ("the migration of web failed", "exit code 1", "column vat exists already", "a rollback runs none"):
        assert words in broken.output
    assert pods_of(estate, "web") == before
    assert migrations(estate) == {migration: "Complete"}

    estate.replace("services/web/migrate.py", FAILING_MIGRATION.strip(), "print('adding column vat')")
    second = estate.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert set(migrations(estate).values()) == {"Complete"}
    assert migration not in migrations(estate)

    back = estate.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert back.output.index("Data stay as the migrations since") < back.output.index("is back at")
    assert migrations(estate) == {migration: "Suspended"}
    drift = estate.slipway("drift", "-s", "e2e")
    assert drift.code == 0, drift.output

    # The same image again, with another setting: what ran once runs no more.
    estate.replace("services/web/migrate.py", "adding column vat", "adding column total")
    estate.replace("services/web/main.py", "version 2", "version 1")
    estate.replace("services/web/service.yaml", "LOG_LEVEL: info", "LOG_LEVEL: debug")
    forward = estate.slipway("up", "-s", "e2e", "--yes")
    assert forward.code == 0, forward.output
    assert migrations(estate) == {migration: "Suspended"}
    assert "its log ends with: no disk" in last_job_is_named(estate)
    stack = json.loads(estate.slipway("verify", "-s", "e2e", "--json").output)
    assert {each["service"]: each["ok"] for each in stack["services"]} == {
        "mailer": True,
        "nightly": False,
        "web": True,
    }


@pytest.mark.thorough
def test_a_destructive_migration_is_gone_back_over_only_when_that_is_said(estate: Any) -> None:
    assert estate.slipway("up", "-s", "e2e", "--yes").code == 0
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
