"""Which services alone have changed since the last update: each input is moved in turn, and gives them or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.catalog import allowed_keys
from slipway.deploy import approval
from slipway.deploy.approval import Approval
from slipway.deploy.last_update import (
    OWN_KEYS,
    LastUpdate,
    changed_services,
    last_update,
    service_sources,
    shared_parts,
    surroundings_hash,
)
from tests.slipway.opened import stack_in

URN = "urn:pulumi:dev::slipway::"
NAMES = ("api", "web", "mail", "shop", "far", "away")
SPECS = {
    "api": "name: api\nenv: {LEVEL: low}\ncontexts: {kit: ../kit}\n",
    "web": "name: web\ncalls: [api]\n",
    "shop": "name: shop\ncalls: [web]\n",
    "mail": "name: mail\nfiles: {/etc/mail.conf: {source: ./mail.conf}}\n",
    "far": "name: far\nsidecars: [{name: log, image: x, files: {/a: {source: ../kit/log.conf}}}]\n",
}


class Clone:
    """A project with services, a state and what was approved for its last update."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        for name in NAMES:
            self.write(f"services/{name}/main.py", "one")
            self.write(f"services/{name}/service.yaml", SPECS.get(name, f"name: {name}\n"))
        for name in ("services/kit/kit.py", "services/kit/log.conf", "services/mail/mail.conf", "services/spec.py"):
            self.write(name, "one")
        self.write("__main__.py", "one")
        self.write("components/pod.py", "one")
        self.write("Pulumi.yaml", "name: slipway\nruntime: python\n")
        self.write("Pulumi.dev.yaml", "config:\n  slipway:registry: here\n")
        self.state = {"resources": list(self._resources())}
        self.save()
        self.last = self._last()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def config(self, line: str) -> None:
        registry = "" if line.startswith("slipway:registry") else "  slipway:registry: here\n"
        self.write("Pulumi.dev.yaml", f"config:\n{registry}  {line}\n")

    def _resources(self) -> Any:
        yield {"urn": f"{URN}pulumi:pulumi:Stack::slipway-dev", "type": "pulumi:pulumi:Stack"}
        yield {"urn": f"{URN}pulumi:providers:kubernetes::dev", "type": "pulumi:providers:kubernetes", "custom": True}
        environment = f"{URN}slipway:index:Environment::dev"
        yield {"urn": environment, "type": "slipway:index:Environment"}
        for name in NAMES:
            component = f"{URN}slipway:index:Microservice::{name}"
            yield {"urn": component, "type": "slipway:index:Microservice"}
            type_ = "kubernetes:apps/v1:Deployment"
            urn = f"{URN}slipway:index:Microservice${type_}::{name}"
            yield {"urn": urn, "type": type_, "custom": True, "parent": component}

    def save(self) -> None:
        self.write(".pulumi/meta.yaml", "version: 1\n")
        checkpoint = {"version": 3, "checkpoint": {"latest": self.state}}
        self.write(".pulumi/stacks/slipway/dev.json", json.dumps(checkpoint))

    def approval(self) -> Approval:
        stack = stack_in(self.folder)
        files = approval.file_hashes(self.folder)
        return Approval(datetime.now(UTC), "", files, approval.settings_of(stack), "state")

    def _last(self) -> LastUpdate:
        now = self.approval()
        return LastUpdate(
            number=4,
            state=now.state,
            files=now.files,
            settings=now.settings,
            surroundings="",
            shared=shared_parts(self.folder),
        )

    def changed(self) -> list[str]:
        return list(changed_services(stack_in(self.folder), self.last, self.approval()))


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_nothing_has_changed(clone: Clone) -> None:
    assert clone.changed() == []
    assert clone.last.is_same(clone.approval())


def change_the_state(clone: Clone) -> None:
    clone.state["resources"][-1]["id"] = "another"
    clone.save()


MOVES: dict[str, Callable[[Clone], object]] = {
    "a program": lambda clone: clone.write("__main__.py", "two"),
    "a setting": lambda clone: clone.config("api:GREETING: hello"),
    "a policy": lambda clone: clone.write("policy/waivers.yaml", "waivers: []"),
    "a source": lambda clone: clone.write("services/api/new.py", ""),
    "a variable": lambda clone: clone.variables.update(GREETING="hello"),
    "a file that a variable names": lambda clone: clone.write("token", "another"),
    "the state": change_the_state,
    "the record": lambda clone: stack_in(clone.folder).own_file("passed").write_text("{"),
    "the record, which is gone": lambda clone: stack_in(clone.folder).own_file("passed").unlink(),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=list(MOVES))
def test_what_moved_has_not_passed(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: Callable[[Clone], object]
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "data"))
    clone.variables["TOKEN_FILE"] = str(clone.folder / "token")
    stack = stack_in(clone.folder, variables=clone.variables)
    surroundings = surroundings_hash(stack)
    passed = clone.last.model_copy(update={"state": approval.state_hash(stack), "surroundings": surroundings})
    stack.own_file("passed").parent.mkdir(parents=True)
    stack.own_file("passed").write_text(passed.model_dump_json())
    assert has_passed(clone)
    move(clone)
    assert not has_passed(clone)


def has_passed(clone: Clone) -> bool:
    stack = stack_in(clone.folder, variables=clone.variables)
    now = approval.take(stack)
    last = last_update(stack, now)
    return last is not None and last.is_same(now)


@pytest.mark.parametrize(
    ("file", "services"),
    [
        ("services/api/main.py", ["api"]),
        ("services/away/new.txt", ["away"]),
        ("services/kit/kit.py", ["api"]),
        ("services/kit/log.conf", ["api", "far"]),
        ("services/mail/mail.conf", ["mail"]),
    ],
)
def test_a_file_changes_the_services_that_read_it(clone: Clone, file: str, services: list[str]) -> None:
    clone.write(file, "two")
    assert clone.changed() == services


@pytest.mark.parametrize(
    "file",
    ["__main__.py", "components/pod.py", "services/spec.py", "services/unread/file.txt", "services/new/service.yaml"],
)
def test_what_is_no_service_s_own_needs_a_whole_update(clone: Clone, file: str) -> None:
    clone.write(file, "name: new\n")
    assert clone.changed() == []


def test_callers_are_looked_at_where_objects_get_other_names(clone: Clone) -> None:
    clone.write("services/api/service.yaml", SPECS["api"].replace("low", "high"))
    assert clone.changed() == ["api", "shop", "web"]
    clone.write("services/api/service.yaml", SPECS["api"])
    clone.write("services/api/main.py", "two")
    assert clone.changed() == ["api"]


@pytest.mark.parametrize("key", [key for key in allowed_keys(()) if key not in OWN_KEYS])
def test_what_a_service_says_to_others_needs_a_whole_update(clone: Clone, key: str) -> None:
    clone.write("services/away/service.yaml", f"name: away\n{key}: [other]\n" if key != "name" else "name: other\n")
    assert clone.changed() == []


@pytest.mark.parametrize("key", sorted(OWN_KEYS))
def test_what_a_service_says_of_itself_changes_it_alone(clone: Clone, key: str) -> None:
    clone.write("services/away/service.yaml", f"name: away\n{key}: {{a: b}}\n")
    assert clone.changed() == ["away"]


@pytest.mark.parametrize(
    ("line", "services"),
    [
        ("slipway:services: {away: {replicas: 2}}", ["away"]),
        ("slipway:services: {api: {env: {LEVEL: high}}}", ["api", "shop", "web"]),
        ("away:TOKEN: {secure: v1:abc}", ["away"]),
        ("slipway:services: {away: {port: 9000}}", []),
        ("slipway:services: {away: {calls: [mail]}}", []),
        ("slipway:services: {nobody: {replicas: 2}}", []),
        ("slipway:defaults: {replicas: 2}", []),
        ("slipway:registry: there", []),
        ("kubernetes:context: there", []),
    ],
)
def test_a_setting_changes_its_service_alone(clone: Clone, line: str, services: list[str]) -> None:
    clone.config(line)
    assert clone.changed() == services


def test_a_place_that_the_environment_names_counts(clone: Clone) -> None:
    clone.config("slipway:services: {away: {build: {context: ../kit}}}")
    clone.last = clone._last()
    clone.write("services/kit/kit.py", "two")
    assert clone.changed() == ["api", "away"]


def test_most_services_need_a_whole_update(clone: Clone) -> None:
    for name in NAMES[:3]:
        clone.write(f"services/{name}/main.py", "two")
    assert clone.changed() == ["api", "mail", "web"]
    clone.write("services/shop/main.py", "two")
    assert clone.changed() == []


def alter(clone: Clone, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    clone.write("services/away/main.py", "two")
    assert clone.changed() == ["away"]
    change(clone.state["resources"])
    clone.save()


@pytest.mark.parametrize(
    "change",
    [
        lambda known: known.append(
            {"urn": f"{URN}kubernetes:core/v1:Secret::raw", "type": "kubernetes:core/v1:Secret"}
        ),
        lambda known: known.append({"urn": f"{URN}team:index:Database::main", "type": "team:index:Database"}),
        lambda known: known[-1].update(initErrors=["crashes"]),
        lambda known: known[-1].update(delete=True),
        lambda known: (known.pop(), known.pop()),
        lambda known: known.clear(),
    ],
)
def test_a_state_of_other_things_needs_a_whole_update(clone: Clone, change: Callable[[Any], Any]) -> None:
    alter(clone, change)
    assert clone.changed() == []


def test_a_service_that_declares_objects_itself_needs_a_whole_update(clone: Clone) -> None:
    clone.write("services/mail/resources.py", "one")
    clone.last = clone._last()
    clone.write("services/away/main.py", "two")
    assert clone.changed() == []


def test_a_file_that_is_no_yaml_is_left_to_the_program(clone: Clone) -> None:
    clone.write("services/away/service.yaml", "name: [")
    assert clone.changed() == []
    assert shared_parts(clone.folder) == {}
    with pytest.raises(ValueError, match=r"away/service.yaml cannot be read"):
        service_sources(clone.folder)
