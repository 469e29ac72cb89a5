"""A copy of this repository with an environment of its own on the lab, updated as a user would."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config

ROOT = Path(__file__).resolve().parents[2]
STACK = "e2e"
# Of this run alone: an interrupted one may have left its own behind.
NAMESPACE = f"slipway-e2e-{secrets.token_hex(3)}"
SETTINGS = f"""\
config:
  slipway:namespace: {NAMESPACE}
  slipway:checksTimeoutSeconds: 10
  user-service:DATABASE_URL: sqlite:////data/users.db
  order-service:DATABASE_URL: sqlite:////data/orders.db
"""
COMMAND_TIMEOUT_SECONDS = 600


@dataclass
class Result:
    """How a command ended and everything it printed."""

    code: int
    output: str


@dataclass
class Project:
    """The copy; commands run in it with the environment that `slipway env` gives."""

    folder: Path
    environment: dict[str, str]
    namespace: str = NAMESPACE

    def run(self, *command: str) -> Result:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout)

    def slipway(self, *arguments: str) -> Result:
        return self.run(sys.executable, "-m", "slipway.main", *arguments)

    def with_environment(self, **variables: str) -> Project:
        """The same project, with other environment variables."""
        return replace(self, environment=self.environment | variables)

    def up(self) -> Result:
        """A bare `pulumi up`, by hand."""
        return self.run("pulumi", "up", "--stack", STACK, "--yes", "--skip-preview", "--non-interactive")

    def outputs(self) -> dict[str, Any]:
        shown = self.run("pulumi", "stack", "output", "--stack", STACK, "--json")
        assert shown.code == 0, shown.output
        return dict(json.loads(shown.output))

    def url(self, service: str) -> str:
        return str(self.outputs()["services"][service]["url"])

    def get(self, path: str) -> Any:
        """The API server's answer to GET `path`, parsed."""
        api = config.new_client_from_config(self.environment["KUBECONFIG"])  # type: ignore[no-untyped-call]
        response = api.call_api(*api.param_serialize("GET", path, auth_settings=["BearerToken"]))
        return json.loads(response.read())

    def deployments(self) -> dict[str, Any]:
        listed = self.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
        return {item["metadata"]["name"]: item for item in listed.get("items", [])}

    def configure(self, more: str) -> None:
        """The environment's settings and `more` lines of them, instead of what an earlier call added."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        salt = [line for line in file.read_text().splitlines() if line.startswith("encryptionsalt:")]
        file.write_text(SETTINGS + more + "".join(f"{line}\n" for line in salt))

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} does not have {old!r}"
        path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    (folder / f"Pulumi.{STACK}.yaml").write_text(SETTINGS)
    backend = tmp_path_factory.mktemp("backend")
    made = Project(folder, os.environ | {"PULUMI_BACKEND_URL": f"file://{backend}"})
    exports = made.slipway("env", "--json")
    assert exports.code == 0, exports.output
    made.environment |= json.loads(exports.output)
    made.environment["SLIPWAY_REGISTRY"] += "/e2e"
    yield made
    made.run("pulumi", "destroy", "--stack", STACK, "--yes", "--skip-preview", "--non-interactive")


@pytest.fixture(scope="module")
def released(project: Project) -> Project:
    """The project with a first, good release."""
    result = project.slipway("up", "-s", STACK, "--yes")
    assert result.code == 0, result.output
    return project
