"""The environment of a pull request comes up, is updated, expires, is taken down, and leaves nothing behind."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_no_interruption import SOURCE

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

NODE_PORT = 31877


def git(project: Any, *arguments: str) -> str:
    done = project.run("git", "-c", "user.name=Ada", "-c", "user.email=a@example.com", *arguments)
    assert done.code == 0, done.output
    return str(done.output)


def files_about(name: str, *folders: Path) -> list[str]:
    return [str(file) for folder in folders for file in folder.rglob("*") if name in file.name]


@pytest.mark.thorough  # as without services in tests/slipway/cli/test_temporary.py
def test_an_environment_comes_is_updated_expires_and_is_gone(project: Any, tmp_path: Path) -> None:
    name = f"pr-{secrets.token_hex(3)}"
    namespace = f"slipway-{name}"
    project.configure(
        f"  slipway:services: {{user-service: {{service: {{type: NodePort, nodePort: {NODE_PORT}}}}}}}\n"
        "  slipway:resourceQuota: {hard: {pods: '8', requests.memory: 2Gi}}\n"
        "  slipway:limitRange: {limits: [{type: Container, default: {cpu: 500m}}]}"
    )
    for declared in ("dev", "prod"):
        (project.folder / f"Pulumi.{declared}.yaml").unlink()
    made = project.run("pulumi", "stack", "init", "e2e", "--no-select")
    assert made.code == 0, made.output
    secret = "sqlite:////data/of-this-secret.db"
    set_secret = ("pulumi", "config", "set", "--secret", "user-service:DATABASE_URL", secret, "--stack", "e2e")
    assert project.run(*set_secret).code == 0
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "--all")
    git(project, "commit", "-q", "-m", "The first release")
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output

    refused = project.slipway("up", "-s", name, "--like", "e2f", "--yes")
    assert (refused.code, "Did you mean `e2e`?" in refused.output) == (2, True), refused.output
    comment = tmp_path / "comment.md"
    up = ("up", "-s", name, "--like", "e2e", "--expires", "3d", "--yes", "--markdown", str(comment))
    done = project.slipway(*up)
    try:
        assert done.code == 0, done.output
        assert f"the cluster chooses its node port; {NODE_PORT} is taken" in done.output
        assert "secrets copied from e2e: user-service:DATABASE_URL" in done.output
        assert git(project, "status", "--porcelain") == ""
        assert secret not in (project.folder / f"Pulumi.{name}.yaml").read_text()
        assert f"`{name}` is up" in comment.read_text()
        (service,) = [
            each
            for each in project.get(f"/api/v1/namespaces/{namespace}/services")["items"]
            if each["metadata"]["name"] == "user-service"
        ]
        assert service["spec"]["type"] == "NodePort"
        assert service["spec"]["ports"][0]["nodePort"] not in (None, NODE_PORT)
        (quota,) = project.get(f"/api/v1/namespaces/{namespace}/resourcequotas")["items"]
        assert quota["status"]["used"]["pods"] == "2"
        limits = project.get(f"/api/v1/namespaces/{namespace}/limitranges")["items"]
        assert [each["spec"]["limits"][0]["default"] for each in limits] == [{"cpu": "500m"}]

        drift = project.slipway("drift", "-s", name)
        assert drift.code == 0, drift.output

        project.replace(SOURCE, '"""', '"""Of the pull request. ')
        git(project, "commit", "-q", "-a", "-m", "Change the first line")
        done = project.slipway("up", "-s", name, "--yes")  # its settings are there: no flags
        assert done.code == 0, done.output
        shown = project.slipway("history", "-s", name).output
        assert "-dirty" not in shown, shown
        kept = project.slipway("reap")
        assert kept.code == 0, kept.output
        assert f"{name} is kept: it stays until" in kept.output
        assert namespace in project.namespaces()

        done = project.slipway("down", "-s", "e2e", "--yes")
        assert (done.code, "Pulumi.e2e.yaml belongs to the repository" in done.output) == (2, True), done.output
        expires = project.run("pulumi", "stack", "tag", "set", "slipway:expires", "2026-01-01T00:00:00Z", "-s", name)
        assert expires.code == 0, expires.output
        (project.folder / f"Pulumi.{name}.yaml").unlink()  # as in another clone
        done = project.slipway("reap", "--preview")
        assert f"{name} would be taken down" in done.output
        began = time.monotonic()
        done = project.slipway("reap")
        assert done.code == 0, done.output
        print(f"reaped in {time.monotonic() - began:.0f} s\n{done.output}")
    finally:
        project.run("kubectl", "delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
    assert namespace not in project.namespaces()
    assert name not in project.run("pulumi", "stack", "ls", "--json").output
    assert files_about(name, project.folder, tmp_path / "backend") == []
    exclude = project.folder / ".git" / "info" / "exclude"
    assert name not in exclude.read_text()
    assert git(project, "status", "--porcelain") == ""
    assert len(project.deployments()) == 2, "e2e is as it was"
    done = project.slipway("down", "-s", name, "--yes")
    assert (done.code, f"There is no environment `{name}`" in done.output) == (2, True), done.output
