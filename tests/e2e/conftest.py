"""Every scenario has a copy of this repository, and a stack and a namespace of its own, and is updated as by a user."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient

from slipway.cluster.client import client
from tests.example import leave_out_postgresql
from tests.lab_databases import lab_database, own_schema
from tests.lab_exports import lab_exports

ROOT = Path(__file__).resolve().parents[2]
STACK = "e2e"
# Nothing that runs reads them.
NOT_COPIED = ("tests/", "docs/")
COMPILED = ("components/", "policy/", "slipway/")
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
    namespace: str

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
        return self.run(sys.executable, "-m", "slipway.cli.main", *arguments)

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

    def api(self) -> ApiClient:
        return client(None, self.environment["KUBECONFIG"])

    def get(self, path: str) -> Any:
        """The API server's answer to GET `path`, parsed."""
        api = self.api()
        response = api.call_api(*api.param_serialize("GET", path, auth_settings=["BearerToken"]))
        return json.loads(response.read())  # type: ignore[no-untyped-call]

    def deployments(self) -> dict[str, Any]:
        listed = self.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        return {item["metadata"]["name"]: item for item in listed.get("items", [])}

    def generations(self) -> dict[str, int]:
        """Of each Deployment; it is another after every change of it."""
        return {name: item["metadata"]["generation"] for name, item in self.deployments().items()}

    def namespaces(self) -> list[str]:
        """All of the cluster."""
        return [each["metadata"]["name"] for each in self.get("/api/v1/namespaces")["items"]]

    def kubectl(self, *arguments: str) -> str:
        """What the command prints in the project's namespace; it has to succeed."""
        done = self.run("kubectl", "-n", self.namespace, *arguments)
        assert done.code == 0, done.output
        return done.output

    def configure(self, more: str = "", namespace: Any = None) -> None:
        """The environment's settings and `more` lines of them, instead of what an earlier call added."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        lines = file.read_text().splitlines() if file.exists() else []
        salt = [line for line in lines if line.startswith("encryptionsalt:")]
        settings = {
            "slipway:namespace": namespace or self.namespace,
            "slipway:checksTimeoutSeconds": 10,
            "user-service:DATABASE_URL": "sqlite:////data/users.db",
            "order-service:DATABASE_URL": "sqlite:////data/orders.db",
        }
        setting_lines = [f"  {key}: {json.dumps(value)}" for key, value in settings.items()]
        file.write_text("\n".join(["config:", *setting_lines, *more.splitlines(), *salt]) + "\n")

    def set_databases(self, urls: Mapping[str, str]) -> None:
        """Give these services, and no others, the address of a database; no stack has the settings yet."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        lines = [line for line in file.read_text().splitlines() if "DATABASE_URL" not in line]
        lines += [f"  {service}:DATABASE_URL: {json.dumps(url)}" for service, url in urls.items()]
        file.write_text("\n".join(lines) + "\n")

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} does not have {old!r}"
        path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="session")
def exports() -> dict[str, str]:
    """The variables that `slipway env` gives on the lab."""
    return lab_exports()


@pytest.fixture(scope="session")
def sources() -> list[str]:
    """The files of this checkout that a user's would have, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [name for name in listed if name and not name.startswith(NOT_COPIED) and (ROOT / name).is_file()]


@pytest.fixture
def project(tmp_path: Path, exports: dict[str, str], sources: list[str]) -> Iterator[Project]:
    """The two services that answer over HTTP, with SQLite in their pods and a unit test each, and nothing deployed."""
    folder, backend = tmp_path / "project", tmp_path / "backend"
    copy_sources(folder, sources)
    leave_out_postgresql(folder)
    shorten_unit_tests(folder)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    backend.mkdir()
    made = Project(
        folder,
        os.environ | exports | {"PULUMI_BACKEND_URL": f"file://{backend}"},
        f"slipway-e2e-{secrets.token_hex(3)}",
    )
    made.environment["SLIPWAY_REGISTRY"] += "/e2e"
    made.configure()
    yield made
    delete_namespaces(made)


def shorten_unit_tests(folder: Path) -> None:
    """One for each service: its own would take half a minute in each build of other sources.

    It is in a file of the service's own, so that copying the sources again leaves nothing of it.
    """
    for tests in (folder / "services").glob("*/tests"):
        only, *others = sorted(tests.glob("test_*.py"))
        for file in others:
            file.unlink()
        only.write_text("def test_one() -> None:\n    assert 1 + 1 == 2\n")


def copy_unit_tests(folder: Path, names: Iterable[str]) -> None:
    """Those of the checkout's services after all, for what is about them; `names` are its files."""
    copy_sources(folder, (name for name in names if name.startswith("services/") and "/tests/" in name))


def copy_sources(folder: Path, names: Iterable[str]) -> None:
    """These files of the checkout, and the bytecode of the program and of Slipway, if there is."""
    for name in names:
        compiled = Path(cache_from_source(name)) if name.startswith(COMPILED) and name.endswith(".py") else Path(name)
        for file in {Path(name), compiled}:
            if (ROOT / file).is_file():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, folder / file)


@pytest.fixture
def whole_example(project: Project, sources: list[str]) -> Iterator[Project]:
    """All services of the checkout, on the lab's PostgreSQL, in a schema of this scenario; nothing is deployed yet.

    Their images are those that `make up` has built, so that they are not built again.
    """
    copy_sources(project.folder, (name for name in sources if name.startswith("services/")))
    urls = {name: lab_database(f"{name}_service") for name in ("user", "order")}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(own_schema(url)) for name, url in urls.items()}
        of_services = {"user-service": "user", "order-service": "order", "order-worker": "order"}
        of_services |= {"order-cleanup": "order"}
        project.set_databases({service: urls[name] for service, name in of_services.items()})
        yield project


@pytest.fixture
def released(project: Project) -> Project:
    """A first, good release runs: update #1."""
    made = project.run("pulumi", "stack", "init", STACK)
    assert made.code == 0, made.output
    result = project.up()
    assert result.code == 0, result.output
    return project


def delete_namespaces(project: Project) -> None:
    """All that the scenario may have made, and what is in them; the cluster goes on with it alone."""
    for name in project.namespaces():
        if name.startswith(project.namespace):
            project.run("kubectl", "delete", "namespace", name, "--wait=false", "--ignore-not-found")
