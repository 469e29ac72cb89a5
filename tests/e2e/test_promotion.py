"""A change goes through two environments with one digest, is rolled back in the second and promoted to it again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway.backend.promotion import image_references, promotions
from slipway.engine.stages import IMAGE_TYPE
from slipway.registry import image_digest
from tests.e2e.test_no_interruption import SOURCE, Load
from tests.second_registry import second_registry

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SECOND = "e2e-live"
FILE = f"Pulumi.{SECOND}.yaml"
BUILDS_NOTHING = "  slipway:build: false # since dev builds\n"
NAME, OTHER = "user-service", "order-service"


class Environments:
    """Environment `e2e`, which builds, and `e2e-live`, which does not, in one git repository."""

    def __init__(self, project: Any, tmp_path: Path, settings: str = BUILDS_NOTHING) -> None:
        self.first = project
        # The folder of buildx is empty: there is no builder.
        self.second = replace(
            project.with_environment(BUILDX_CONFIG=str(tmp_path / "no-buildx")), namespace=f"{project.namespace}-live"
        )
        self.file = project.folder / FILE
        self.file.write_text(
            "config:\n"
            f"  slipway:namespace: {self.second.namespace}\n"
            f"{settings}"
            "  # The databases are in the pods.\n"
            "  user-service:DATABASE_URL: sqlite:////data/users.db\n"
            "  order-service:DATABASE_URL: sqlite:////data/orders.db\n"
        )
        for name in ("dev", "prod"):
            (project.folder / f"Pulumi.{name}.yaml").unlink()
        for stack in ("e2e", SECOND):  # which writes a salt into its settings: they are to be committed with it
            made = project.run("pulumi", "stack", "init", stack, "--no-select")
            assert made.code == 0, made.output
        self.git("init", "-q", "-b", "main")
        self.commit("The first release")

    def git(self, *arguments: str) -> str:
        done = self.first.run("git", "-c", "user.name=Ada", "-c", "user.email=a@example.com", *arguments)
        assert done.code == 0, done.output
        return str(done.output)

    def commit(self, subject: str) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD").strip()

    def up(self, stack: str) -> str:
        return self.done(stack, "up", "-s", stack, "--yes")

    def promote(self, *more: str) -> str:
        return self.done(SECOND, "promote", "--from", "e2e", "--to", SECOND, *more)

    def done(self, stack: str, *arguments: str, code: int = 0) -> str:
        """What a command prints; `second`'s have no builder."""
        result = (self.second if stack == SECOND else self.first).slipway(*arguments)
        assert result.code == code, result.output
        return str(result.output)

    def state(self, stack: str) -> Any:
        exported = self.first.run("pulumi", "stack", "export", "--stack", stack)
        assert exported.code == 0, exported.output
        return json.loads(exported.output)["deployment"]

    def running(self) -> tuple[dict[str, str], dict[str, str]]:
        """The image that the cluster runs of each service, in both environments."""
        first, second = (
            {
                name: item["spec"]["template"]["spec"]["containers"][0]["image"]
                for name, item in each.deployments().items()
            }
            for each in (self.first, self.second)
        )
        return first, second

    def url(self) -> str:
        shown = self.second.run("pulumi", "stack", "output", "--stack", SECOND, "--json", "services")
        assert shown.code == 0, shown.output
        return f"{json.loads(shown.output)[NAME]['url']}/users"


def test_one_digest_goes_through_both_environments_and_back(project: Any, tmp_path: Path) -> None:
    both = Environments(project, tmp_path)
    both.up("e2e")
    refused = both.done(SECOND, "up", "-s", SECOND, "--yes", code=2)
    assert f"run `slipway promote --from e2e --to {SECOND}`" in refused

    before = both.file.read_text()
    shown = both.promote()
    assert f"{SECOND} from #1 of e2e" in shown
    after = both.file.read_text()
    assert [line for line in after.splitlines() if line in before.splitlines()] == before.splitlines()
    assert both.git("status", "--short").split() == ["M", FILE]
    both.commit("Promote #1")
    both.up(SECOND)
    first, second = both.running()
    assert first == second
    state = both.state(SECOND)
    assert [each for each in state["resources"] if each["type"] == IMAGE_TYPE] == []
    assert not any("docker-build" in each["urn"] for each in state["resources"])
    assert {name: each.update for name, each in promotions(state).items()} == {NAME: 1, OTHER: 1}
    assert "nothing to promote" in both.promote()

    load = Load(both.url())
    with load.running():
        project.replace(SOURCE, '"""', '"""Second release. ')
        changed = both.commit("Change the first line")
        both.up("e2e")
        shown = both.promote()
        assert changed[:8] in shown
        assert "Change the first line" in shown
        assert f"\n  {OTHER}" not in shown, "its digest is the same"
        where = json.loads(both.done(SECOND, "where", NAME, "--json"))
        (lead,) = where["ahead"]
        assert (lead["environment"], lead["behind"]) == ("e2e", SECOND)
        assert [each["commit"] for each in lead["commits"]] == [changed]
        both.commit("Promote #2")
        both.up(SECOND)
        released = both.running()
        assert released[0] == released[1]
        assert released[1][NAME] != second[NAME]

        shown = both.done(SECOND, "rollback", "-s", SECOND, "--yes")
        assert "recorded inputs are the same" in shown
        assert both.running() == (released[0], second)
        shown = both.promote()
        assert "nothing to promote" in shown
        assert f"`slipway up -s {SECOND}` deploys it" in shown
        both.up(SECOND)
        assert both.running() == released
        load.wait_for(1000)
    assert json.loads(both.done(SECOND, "where", "--json"))["ahead"] == []
    trail = both.done(SECOND, "history", "-s", SECOND)
    assert trail.count("(#2 of e2e)") == 2, "before the rollback and after it"
    assert trail.count("(#1 of e2e)") == 3, "two services at first, one in the rollback"
    assert not load.lost, load.answers

    digest = image_references(both.state(SECOND))[NAME].rpartition("@")[2]
    good = both.file.read_text()
    both.file.write_text(good.replace(digest, "sha256:" + "0" * 64))
    edited = both.file.read_text()
    for command in (("up", "-s", SECOND, "--yes", "--allow-dirty"), ("promote", "--from", "e2e", "--to", SECOND)):
        assert "edited by hand" in both.done(SECOND, *command, code=2)
        assert both.file.read_text() == edited
    both.file.write_text(good)


@pytest.mark.thorough
def test_a_digest_goes_to_another_registry_and_is_only_of_a_commit(project: Any, tmp_path: Path) -> None:
    with second_registry(tmp_path / "registry") as address:
        both = Environments(
            project, tmp_path, f"  slipway:build: false\n  slipway:registry: {address}/live # of its own\n"
        )
        both.up("e2e")
        shown = both.promote()
        assert f"Copied {NAME} to {address}/live/{NAME}:promoted-" in shown
        both.commit("Promote #1")
        both.up(SECOND)
        first, second = both.running()
        for service in (NAME, OTHER):
            repository, _, digest = second[service].partition("@")
            assert (repository, digest) == (f"{address}/live/{service}", first[service].partition("@")[2])
            assert image_digest(second[service]) == digest
        assert "nothing to promote" in both.promote()

        good = both.file.read_text()
        project.replace(SOURCE, '"""', '"""In no commit. ')
        both.up("e2e")
        assert "uncommitted changes" in both.done(SECOND, "promote", "--from", "e2e", "--to", SECOND, code=2)
        assert both.file.read_text() == good


@pytest.mark.thorough
def test_a_stack_that_built_goes_back_to_its_build_after_it_was_promoted_to(project: Any, tmp_path: Path) -> None:
    both = Environments(project, tmp_path, "")
    done = both.first.slipway("up", "-s", SECOND, "--yes")  # which has a builder
    assert done.code == 0, done.output
    built = both.running()[1]
    assert [each["type"] for each in both.state(SECOND)["resources"]].count(IMAGE_TYPE) == len(built) == 2

    project.replace(SOURCE, '"""', '"""Second release. ')
    both.file.write_text(both.file.read_text().replace("config:\n", f"config:\n{BUILDS_NOTHING}", 1))
    both.commit("Run what e2e has built")
    both.up("e2e")
    both.promote()
    both.commit("Promote #1")
    both.up(SECOND)
    promoted = both.running()[1]
    assert promoted[NAME] != built[NAME]
    assert [each for each in both.state(SECOND)["resources"] if each["type"] == IMAGE_TYPE] == []

    load = Load(both.url())
    with load.running():
        shown = both.done(SECOND, "rollback", "-s", SECOND, "--yes")
        assert "recorded inputs are the same" in shown
        assert both.running()[1] == built
        both.done(SECOND, "verify", "-s", SECOND)
        assert "rollback" in both.done(SECOND, "history", "-s", SECOND)
        both.up(SECOND)
        assert both.running()[1] == promoted
        load.wait_for(300)
    assert not load.lost, load.answers
    both.done(SECOND, "drift", "-s", SECOND)
