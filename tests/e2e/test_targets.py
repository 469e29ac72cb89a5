"""An update declares the services alone that have changed, and comes out as a whole update does; so does a rollback."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from slipway.deploy.approval import normalized

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

DOCKERFILE = """ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE} AS test
COPY main.py ./
RUN python3 -m py_compile main.py
FROM ${BASE_IMAGE} AS runtime
WORKDIR /srv
COPY main.py ./
USER 10001:10001
CMD ["python3", "main.py"]
"""
MAIN = """import http.server, os
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"version 1")
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
SERVICE = (
    "name: {name}\nhealth: {{ready: /}}\nenv: {{LEVEL: low}}\nchecks: [{{get: /, has: version}}]\ncalls: {calls}\n"
)
CALLS = {"api": "[]", "web": "[api]", "mail": "[]", "shop": "[]"}


@pytest.fixture
def four(project: Any) -> Any:
    """Four services in the place of those of this repository, released as update #1; `web` calls `api`."""
    for spec in (project.folder / "services").glob("*/service.yaml"):
        shutil.rmtree(spec.parent)
    for name, calls in CALLS.items():
        folder = project.folder / "services" / name
        folder.mkdir()
        (folder / "service.yaml").write_text(SERVICE.format(name=name, calls=calls))
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "main.py").write_text(MAIN)
    project.set_databases({})
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    return project


def state(project: Any) -> dict[str, Any]:
    """The recorded state, without what is another each time it is written."""
    file = project.folder.parent / "backend" / ".pulumi" / "stacks" / "slipway" / "e2e.json"
    return normalized(json.loads(file.read_text())["checkpoint"]["latest"])


def update(project: Any, *targets: str) -> None:
    """Update it, and see that these services alone were declared, and the checks of all asked."""
    updated = project.slipway("up", "-s", "e2e", "--yes")
    assert updated.code == 0, updated.output
    assert f"Only {', '.join(targets)} changed" in updated.output
    assert "4 checks met" in updated.output


def config_maps(project: Any, name: str) -> list[str]:
    listed = project.get(f"/api/v1/namespaces/{project.namespace}/configmaps")["items"]
    return [each["metadata"]["name"] for each in listed if each["metadata"]["name"].startswith(f"{name}-")]


@pytest.mark.thorough  # other scenarios update one service alone, and test_rollback.py takes one back
def test_what_alone_has_changed_is_declared_and_rolled_back_as_by_a_whole_update(four: Any) -> None:
    first = state(four)
    four.replace("services/mail/main.py", "version 1", "version 2")
    update(four, "mail")

    # Its ConfigMap has another name then: the one before goes, though web's Deployment comes after api's.
    before = config_maps(four, "api")
    four.replace("services/api/service.yaml", "LEVEL: low", "LEVEL: high")
    update(four, "api", "web")
    assert len(config_maps(four, "api")) == 1
    assert config_maps(four, "api") != before

    four.replace("Pulumi.e2e.yaml", "config:\n", "config:\n  slipway:services: {shop: {replicas: 2}}\n")
    update(four, "shop")
    assert four.deployments()["shop"]["spec"]["replicas"] == 2

    left = state(four)
    forced = four.slipway("up", "-s", "e2e", "--yes", "--force")
    assert forced.code == 0, forced.output
    assert "Only" not in forced.output
    assert state(four) == left, "a whole update finds nothing to do"

    mail = four.folder / "services" / "mail" / "main.py"
    mail.write_text("raise SystemExit('no mail today')\n")
    failed = four.slipway("up", "-s", "e2e", "--yes")
    assert failed.code == 4, failed.output
    assert "Only mail changed" in failed.output
    assert "no mail today" in failed.output
    assert "4 checks met" in failed.output
    mail.write_text(MAIN.replace("version 1", "version 2"))

    # What others rest on is declared with all.
    four.replace("services/api/service.yaml", "name: api\n", "name: api\nport: 9000\n")
    updated = four.slipway("up", "-s", "e2e", "--yes")
    assert updated.code == 0, updated.output
    assert "Only" not in updated.output

    back = four.slipway("rollback", "-s", "e2e", "--yes", "--service", "api", "--to", "1")
    assert back.code == 0, back.output
    assert config_maps(four, "api") == before
    assert four.deployments()["shop"]["spec"]["replicas"] == 2, "the others stay"

    whole = four.slipway("rollback", "-s", "e2e", "--yes", "--to", "1")
    assert whole.code == 0, whole.output
    assert "4 checks met" in whole.output
    assert declared(state(four)) == declared(first)


def declared(recorded: dict[str, Any]) -> dict[str, Any]:
    """What the cluster is told, and the stack's outputs."""
    return {
        each["urn"]: each.get("inputs") or each.get("outputs")
        for each in recorded["resources"]
        if "docker-build" not in each["urn"]
    }
