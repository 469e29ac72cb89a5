"""An update that nobody previews is held to the policies all the same: judged anew whenever a verdict could differ."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from kubernetes import client

from policy import program_check
from policy.program_check import DeclaredObject
from slipway.deploy.program_policies import (
    PassedPolicies,
    creates_beside_others,
    judge_program,
    passed_policies,
    policy_inputs,
    record_passed,
)
from slipway.deploy.summary import Violation
from slipway.stack import Stack
from slipway.state.checkpoint import ENVIRONMENT_TYPE
from tests.example import leave_out_postgresql
from tests.lab_exports import lab_exports
from tests.slipway.opened import stack_in

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ("__main__.py", "Pulumi.yaml", "components", "policy", "services", "slipway", "pyproject.toml")
SETTINGS = {
    "slipway:namespace": "judged",
    "user-service:DATABASE_URL": "sqlite:////data/users.db",
    "order-service:DATABASE_URL": "sqlite:////data/orders.db",
}
SERVICE = "services/user_service/service.yaml"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The program of this checkout in a folder of its own, with a stack whose state is what the program declares."""
    home = tmp_path_factory.mktemp("declared")
    folder = home / "project"
    folder.mkdir()
    for name in PROGRAM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    leave_out_postgresql(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "Pulumi.dev.yaml").write_text(json.dumps({"config": SETTINGS}))
    variables = {**os.environ, **lab_exports(), "PULUMI_BACKEND_URL": folder.as_uri()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_check, "CHECKOUT", folder)
        made = stack_in(folder, variables=variables)
        initialized = made.engine.run("stack", "init", "dev", "--no-select")
        assert initialized.exit_code == 0, initialized.errors
        deploy(made, judge_program(made).judged)
    shutil.copytree(home, f"{home}-kept", symlinks=True)
    return made


@pytest.fixture
def stack(judged: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """As it was at first: each test gets all files back."""
    folder = judged.project.folder
    home = folder.parent
    shutil.rmtree(home)
    shutil.copytree(f"{home}-kept", home, symlinks=True)
    monkeypatch.setenv("SLIPWAY_HOME", str(home / "data"))
    monkeypatch.setattr(program_check, "CHECKOUT", folder)
    return stack_in(folder, variables=judged.engine.environment)


def deploy(stack: Stack, objects: Iterable[tuple[str, str]]) -> None:
    """Have a state of these, types and names, below the environment."""
    named = sorted(objects, key=lambda each: each[0] != ENVIRONMENT_TYPE)
    resources = [{"urn": f"urn:pulumi:dev::slipway::{type_}::{name}", "type": type_} for type_, name in named]
    if named and named[0][0] == ENVIRONMENT_TYPE:
        resources[1:] = [{**each, "parent": resources[0]["urn"]} for each in resources[1:]]
    file = stack.project.folder / "state.json"
    file.write_text(json.dumps({"version": 3, "deployment": {"resources": resources}}))
    imported = stack.engine.run("stack", "import", "--stack", "dev", "--file", str(file))
    assert imported.exit_code == 0, imported.errors
    file.unlink()


def edit(stack: Stack, file: str, old: str, new: str) -> None:
    path = stack.project.folder / file
    text = path.read_text()
    assert old in text, f"{file} does not have {old!r}"
    path.write_text(text.replace(old, new, 1))


def verdict(stack: Stack) -> tuple[str, PassedPolicies]:
    """What was passed, and the hash of the inputs that its verdict is of."""
    passed = passed_policies(stack)
    assert passed
    (inputs,) = json.loads(stack.own_file("policies").read_text())
    return inputs, passed


def test_a_verdict_holds_while_only_the_content_of_sources_changes(stack: Stack) -> None:
    first = verdict(stack)
    assert first[1].rules > 50
    source = next((stack.project.folder / "services/user_service").glob("*/*.py"))
    source.write_text(source.read_text() + "\n# changed\n")
    written = stack.own_file("policies").stat().st_mtime_ns
    second = verdict(stack)
    assert (second[0], second[1].rules, second[1].variables) == (first[0], first[1].rules, first[1].variables)
    assert stack.own_file("policies").stat().st_mtime_ns == written


def test_what_a_whole_update_has_passed_is_not_judged_again(stack: Stack) -> None:
    advice = Violation("topology-spread", "advisory", "all pods may run on one node", None)
    record_passed(stack, policy_inputs(stack), 7, [advice])
    source = next((stack.project.folder / "services/user_service").glob("*/*.py"))
    source.write_text(source.read_text() + "\n# changed\n")
    _, passed = verdict(stack)
    assert passed.rules == 7
    assert passed.notes.splitlines()[1:] == ["  topology-spread [advisory] the stack: all pods may run on one node"]
    edit(stack, SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: debug")
    assert verdict(stack)[1].rules > 50


def test_where_a_service_declares_own_objects_no_update_is_a_verdict(stack: Stack) -> None:
    (stack.project.folder / "services/user_service/resources.py").write_text("def declare(service):\n    pass\n")
    record_passed(stack, policy_inputs(stack), 7, [])
    assert not stack.own_file("policies").exists()


MOVES: dict[str, Callable[[Stack], object]] = {
    "program": lambda stack: edit(stack, "__main__.py", "enforce_policies()", "enforce_policies()  # changed"),
    "component": lambda stack: edit(stack, "components/pod.py", '"""', '"""Changed. '),
    "rule": lambda stack: edit(stack, "policy/rules/containers.py", '"""', '"""Changed. '),
    "waivers": lambda stack: edit(stack, "policy/waivers.yaml", "waivers: []", "waivers: []  # none"),
    "service": lambda stack: edit(stack, SERVICE, "LOG_LEVEL: info", "LOG_LEVEL: debug"),
    "Dockerfile": lambda stack: edit(stack, "services/user_service/Dockerfile", "FROM ", "# changed\nFROM "),
    "a new file": lambda stack: (stack.project.folder / "services/user_service/new.txt").touch(),
    "a mode": lambda stack: (stack.project.folder / "services/user_service/new.txt").chmod(0o755),
    "setting": lambda stack: edit(stack, "Pulumi.dev.yaml", '"judged"', '"judged-too"'),
}


def test_the_content_of_a_file_that_a_service_mounts_counts(stack: Stack) -> None:
    file = stack.project.folder / "services/user_service/motd.txt"
    file.write_text("one\n")
    edit(stack, SERVICE, "env: ", "files: {/etc/motd: motd.txt}\nenv: ")
    assert passed_policies(stack) is None, "an object that is new is previewed"
    deploy(stack, judge_program(stack).judged)
    first, _ = verdict(stack)
    file.write_text("two\n")
    second, _ = verdict(stack)
    assert first != second


def test_everything_that_could_change_a_verdict_has_the_policies_asked_again(stack: Stack) -> None:
    seen = {verdict(stack)[0]}
    for what, move in MOVES.items():
        move(stack)
        inputs = policy_inputs(stack)
        assert inputs not in seen, what
        seen.add(inputs)
    variable = replace(stack, engine=stack.engine.with_variables({"REGION": "north"}))
    judged, _ = verdict(variable)
    assert judged not in seen


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("components/pod.py", '"read_only_root_filesystem": True', '"read_only_root_filesystem": False'),
        (SERVICE, "name: user-service", "name: user-service\nreplicas: many"),
        ("__main__.py", "enforce_policies()", "raise ValueError"),
        pytest.param("policy/waivers.yaml", "waivers: []", "waivers: no list", marks=pytest.mark.thorough),
    ],
)
def test_whatever_does_not_pass_is_left_to_a_preview(stack: Stack, file: str, old: str, new: str) -> None:
    edit(stack, file, old, new)
    assert passed_policies(stack) is None
    assert not stack.own_file("policies").exists()


def test_the_first_update_needs_no_preview_in_a_namespace_that_it_creates(stack: Stack) -> None:
    deploy(stack, ())
    name = f"judged-{secrets.token_hex(3)}"  # of this test alone: what is deleted is there for a while
    edit(stack, "Pulumi.dev.yaml", '"judged"', json.dumps(name))
    passed = passed_policies(stack)
    assert passed
    assert passed.rules > 50
    api = client.CoreV1Api(stack.cluster().client)
    api.create_namespace({"metadata": {"name": name}})
    try:
        assert passed_policies(stack) is None, "the namespace may be somebody else's"
    finally:
        api.delete_namespace(name)


def test_what_would_be_created_in_a_namespace_that_exists_is_left_to_a_preview(stack: Stack) -> None:
    """It may be somebody else's, and the API server may refuse it."""
    objects = judge_program(stack).judged
    service = ("kubernetes:core/v1:Service", "order-service")
    assert service in map(tuple, objects)
    deploy(stack, [each for each in objects if tuple(each) != service])
    assert passed_policies(stack) is None
    deploy(stack, objects)
    assert passed_policies(stack)


NAMESPACE = DeclaredObject("kubernetes:core/v1:Namespace", "dev", "v1", "Namespace", "default", "judged")


@pytest.mark.parametrize(
    ("declared", "beside"),
    [
        (DeclaredObject("kubernetes:core/v1:Service", "a", "v1", "Service", "judged", "a"), False),
        (DeclaredObject("kubernetes:core/v1:Service", "a", "v1", "Service", "elsewhere", "a"), True),
        (DeclaredObject("kubernetes:core/v1:Service", "a", "v1", "Service", "", ""), True),
        (DeclaredObject("kubernetes:core/v1:PersistentVolume", "a", "v1", "PersistentVolume", "judged", "a"), True),
        (DeclaredObject("kubernetes:acme.example/v1:Thing", "a", "acme.example/v1", "Thing", "judged", "a"), True),
        (DeclaredObject("acme:index:Thing", "a", "", "", "", ""), True),
    ],
    ids=["inside", "elsewhere", "unknown", "cluster-scoped", "of an unknown kind", "outside of Kubernetes"],
)
def test_only_what_is_inside_a_new_namespace_needs_no_preview(
    stack: Stack, declared: DeclaredObject, *, beside: bool
) -> None:
    deploy(stack, ())
    assert creates_beside_others(stack, [NAMESPACE, declared]) is beside


def test_a_backend_that_does_not_say_its_organization_has_a_preview(stack: Stack) -> None:
    cloud = stack.engine.with_variables({"PULUMI_BACKEND_URL": "https://api.pulumi.example"})
    assert passed_policies(replace(stack, engine=cloud)) is None
