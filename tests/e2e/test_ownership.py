"""What somebody else has made is never taken over, and what is the stack's own always is."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

pytestmark = [pytest.mark.lab, pytest.mark.e2e]


def core(project: Any) -> Any:
    """The typed client, which takes plain objects for a request's body too, though its types do not say so."""
    return client.CoreV1Api(project.api())


@pytest.fixture
def foreign_namespace(project: Any) -> Iterator[str]:
    name = f"{project.namespace}-shop"
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    core(project).create_namespace({"metadata": {"name": name, "labels": labels}})
    yield name
    core(project).delete_namespace(name)
    while name in {each.metadata.name for each in core(project).list_namespace().items}:
        time.sleep(0.5)


def resources(project: Any) -> list[dict[str, Any]]:
    exported = project.run("pulumi", "stack", "export", "--stack", "e2e")
    return list(json.loads(exported.output)["deployment"].get("resources") or ())


def test_a_namespace_of_somebody_else_is_refused_and_says_whose_it_is(project: Any, foreign_namespace: str) -> None:
    before = core(project).read_namespace(foreign_namespace).metadata
    project.configure(namespace=foreign_namespace)
    for refused in (project.slipway("up", "-s", "e2e", "--yes"), project.up()):
        assert refused.code not in (0, 4), refused.output
        flat = " ".join(refused.output.split())
        assert f"Namespace {foreign_namespace} exists already, and this stack did not create it" in flat
        assert "app.kubernetes.io/managed-by=Helm" in flat
        assert "managed: false" in flat
        assert f"slipway:adopt: [Namespace/{foreign_namespace}]" in flat
        assert "Traceback" not in refused.output
    assert core(project).read_namespace(foreign_namespace).metadata.resource_version == before.resource_version


BROKEN_IMAGE = """
import pulumi_docker_build

pulumi_docker_build.Image(
    "broken",
    push=False,
    context={"location": "services/user_service"},
    dockerfile={"inline": "FROM scratch\\nCOPY absent /\\n"},
)
"""


def test_an_image_still_looked_up_when_something_else_fails_is_not_told_of(project: Any) -> None:
    program = project.folder / "__main__.py"
    program.write_text(program.read_text().replace("\nfor name", f"{BROKEN_IMAGE}\nfor name"))
    assert project.run("pulumi", "stack", "init", "e2e").code == 0
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        host = f"127.0.0.1:{never_answers.getsockname()[1]}"
        failed = project.with_environment(SLIPWAY_BASE_IMAGE=f"{host}/python:3").up()
    assert failed.code not in (0, 4), failed.output
    assert "/absent" in failed.output
    assert "unhandled exception" not in failed.output
    assert project.namespace not in project.namespaces()


@pytest.mark.thorough
def test_a_namespace_that_somebody_else_manages_is_used_and_left_alone(project: Any, foreign_namespace: str) -> None:
    before = core(project).read_namespace(foreign_namespace).metadata
    project.configure(namespace={"name": foreign_namespace, "managed": False})
    done = project.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert not [each for each in resources(project) if each["type"].endswith("v1:Namespace")]
    changed = "  slipway:services: {user-service: {env: {LOG_LEVEL: debug}}}\n"
    project.configure(changed, namespace={"name": foreign_namespace, "managed": False})
    done = project.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    back = project.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    destroyed = project.run("pulumi", "destroy", "-s", "e2e", "--yes", "--skip-preview", "--non-interactive")
    assert destroyed.code == 0, destroyed.output
    after = core(project).read_namespace(foreign_namespace).metadata
    assert (after.labels, after.uid) == (before.labels, before.uid)


def require_adoption_as_declared(released: Any) -> None:
    """An object of somebody else is refused, and taken over where the stack says so."""
    made = released.slipway("new", "parcel-service")
    assert made.code == 0, made.output
    core(released).create_namespaced_service_account(released.namespace, {"metadata": {"name": "parcel-service"}})
    refused = released.slipway("up", "-s", "e2e", "--yes")
    assert refused.code == 1, refused.output
    assert "ServiceAccount parcel-service exists already, and this stack did not create it" in refused.output
    assert "parcel-service" not in released.deployments()
    released.configure("  slipway:adopt: [ServiceAccount/parcel-*]\n")
    taken = released.slipway("up", "-s", "e2e", "--yes")
    assert taken.code == 0, taken.output
    assert "Adopted ServiceAccount parcel-service, as slipway:adopt says" in taken.output
    assert "parcel-service" in released.deployments()


@pytest.mark.thorough
def test_what_the_state_was_made_to_forget_is_still_its_own(released: Any) -> None:
    """For a bare update as well: by its uid in the history."""
    (urn,) = (each["urn"] for each in resources(released) if each["urn"].endswith("Deployment::order-service"))
    before = released.deployments()["order-service"]["metadata"]["uid"]
    forgotten = released.run("pulumi", "state", "delete", urn, "--stack", "e2e", "--yes")
    assert forgotten.code == 0, forgotten.output
    done = released.up()
    assert done.code == 0, done.output
    assert urn in [each["urn"] for each in resources(released)]
    assert released.deployments()["order-service"]["metadata"]["uid"] == before


@pytest.mark.thorough
def test_what_an_update_began_to_create_when_it_was_cut_off_is_its_own(released: Any) -> None:
    """The engine leaves no word of it: as after a Ctrl-C between the API server's answer and the provider's."""
    made = released.slipway("new", "crate-service")
    assert made.code == 0, made.output
    process = subprocess.Popen(
        ["pulumi", "up", "--stack", "e2e", "--yes", "--skip-preview", "--non-interactive"],
        cwd=released.folder,
        env=released.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout or ():
        if "crate-service" in line and "created" in line and "kubernetes:" in line:
            break
    process.kill()
    process.communicate()
    state = json.loads(released.run("pulumi", "stack", "export", "--stack", "e2e").output)
    kept = [each for each in state["deployment"]["resources"] if "crate-service" not in each["urn"].rsplit("::", 1)[-1]]
    state["deployment"] |= {"resources": kept, "pending_operations": []}
    file = released.folder / "state.json"
    file.write_text(json.dumps(state))
    cancelled = released.run("pulumi", "cancel", "--stack", "e2e", "--yes")
    assert cancelled.code == 0, cancelled.output
    imported = released.run("pulumi", "stack", "import", "--stack", "e2e", "--file", str(file))
    assert imported.code == 0, imported.output
    accounts = core(released).list_namespaced_service_account(released.namespace).items
    assert "crate-service" in {each.metadata.name for each in accounts}, "the update was cut off too early"
    done = released.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert "crate-service" in released.deployments()


@pytest.mark.thorough
def test_a_namespace_that_becomes_somebody_elses_is_forgotten_and_never_deleted(released: Any) -> None:
    before = core(released).read_namespace(released.namespace).metadata
    released.configure(namespace={"name": released.namespace, "managed": False})
    refused = released.up()
    assert refused.code != 0
    assert "Run `slipway up -s e2e`, which removes it from the state" in " ".join(refused.output.split())
    done = released.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    assert f"Removed Namespace {released.namespace} from the state of e2e" in done.output
    assert not [each for each in resources(released) if each["type"].endswith("v1:Namespace")]
    after = core(released).read_namespace(released.namespace).metadata
    assert (after.uid, after.deletion_timestamp) == (before.uid, None)
    assert "order-service" in released.deployments()
