"""`slipway up --like`, `down` and `reap` with the real engine, over a project that has nothing in a cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.lab

UP = ("up", "-s", "pr-1", "--like", "dev", "--expires", "3d", "--yes")
SALT = "encryptionsalt"


@pytest.fixture
def updated(scratch_after: Any) -> Any:
    return scratch_after("up", "-s", "dev", "--yes")


@pytest.fixture
def project(updated: Any) -> Any:
    """Environment dev has a secret that is encrypted for its own stack."""
    pulumi(updated, "config", "set", "--secret", "token", "of-dev", "--stack", "dev")
    updated.commit()
    return updated


def pulumi(scratch: Any, *arguments: str) -> str:
    """What the engine prints in the project, with the lab's variables."""
    from slipway.engine.pulumi_cli import Pulumi  # noqa: PLC0415
    from slipway.environment_variables import resolve  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        for name, value in scratch.environment().items():
            patch.setenv(name, value)
        variables = resolve(scratch.environment(), scratch.folder).complete(scratch.environment())
        done = Pulumi(scratch.folder, variables).run(*arguments)
    assert done.exit_code == 0, done.errors
    return done.output


def settings(scratch: Any, name: str = "pr-1") -> Path:
    return Path(scratch.folder / f"Pulumi.{name}.yaml")


def left(scratch: Any, name: str = "pr-1") -> list[Path]:
    """Files of the project, the backend and this machine that are named after the environment, but for logs."""
    return [
        file
        for file in (*scratch.folder.rglob("*"), *scratch.home.rglob("*"))
        if re.search(rf"{name}(?!\d)", file.name) and "logs" not in file.parts
    ]


@pytest.mark.thorough  # each of it is below, with what goes wrong
def test_it_comes_is_updated_without_flags_and_goes(project: Any) -> None:
    comment = project.home / "comment.md"
    done = project(*UP, "--markdown", str(comment))
    assert done.returncode == 0, done.stderr
    assert "pr-1 is like dev, in namespace slipway-pr-1, until 20" in done.stderr
    assert "secrets copied from dev: scratch:token; the systems they open, such as databases, are shared" in done.stderr
    assert "## ✅ `pr-1` is up" in comment.read_text()
    assert "| `a-service` | http://10.0.0.1 |" in comment.read_text()
    assert project.git("status", "--porcelain") == ""
    written = yaml.safe_load(settings(project).read_text())
    secure = written["config"]["scratch:token"]["secure"]
    assert secure != yaml.safe_load(settings(project, "dev").read_text())["config"]["scratch:token"]["secure"]
    assert pulumi(project, "config", "get", "token", "--stack", "pr-1").strip() == "of-dev"
    assert json.loads(pulumi(project, "stack", "output", "token", "--stack", "pr-1", "--show-secrets")) == len("of-dev")

    done = project("up", "-s", "pr-1", "--yes")
    assert done.returncode == 0, done.stderr
    done = project("up", "-s", "pr-1", "--expires", "2w", "--yes")
    assert (done.returncode, "pr-1 stays until 20" in done.stderr) == (0, True), done.stderr
    tags = json.loads(pulumi(project, "stack", "tag", "ls", "--json", "--stack", "pr-1"))
    assert tags["slipway:like"] == "dev"

    done = project("down", "-s", "pr-1", "--yes", "--markdown", str(comment))
    assert done.returncode == 0, done.stderr
    assert "Deleted pr-1" in done.stdout
    assert "`pr-1` was taken down" in comment.read_text()
    assert left(project) == []
    assert "pr-1" not in (project.folder / ".git" / "info" / "exclude").read_text()
    assert "pr-1" not in pulumi(project, "stack", "ls", "--json")
    done = project("down", "-s", "pr-1", "--yes")
    assert (done.returncode, "There is no environment `pr-1`" in done.stderr) == (2, True), done.stderr
    assert project("down", "-s", "pr-1", "--yes", "--if-exists").returncode == 0


def test_why_it_was_not_updated_is_in_the_comment_and_it_can_be_taken_down(updated: Any) -> None:
    updated.program("raise ValueError('no `such` thing')\n")
    comment = updated.home / "comment.md"
    done = updated(*UP, "--markdown", str(comment))
    assert done.returncode == 1, done.stderr
    text = comment.read_text()
    assert text.startswith("<!-- slipway:preview:scratch:pr-1 -->\n\n## ❌ `pr-1` was not updated\n")
    assert "no `such` thing" in text
    code, screen = updated.on_terminal(b"? [y/N]: ", lambda: b"n\n", "down", "-s", "pr-1")
    assert (code, "pr-1 was not taken down: you answered no." in screen) == (1, True), screen
    assert settings(updated).is_file()
    done = updated("down", "-s", "pr-1", "--yes", "--markdown", str(comment))
    assert (done.returncode, left(updated)) == (0, []), done.stderr
    assert "Deleted pr-1" in done.stdout
    assert "`pr-1` was taken down" in comment.read_text()
    assert updated("down", "-s", "pr-1", "--yes", "--if-exists").returncode == 0


def test_only_what_has_expired_and_is_not_declared_is_reaped(project: Any) -> None:
    """With what is protected in it, as claims are, and the namespace that has some."""
    protected = "pulumi.ComponentResource('a:b:C', 'c', None, pulumi.ResourceOptions(protect=True))"
    project.program(f"import pulumi\n{protected}\n")
    for name in ("pr-1", "pr-10"):
        done = project("up", "-s", name, "--like", "dev", "--expires", "3d", "--yes")
        assert done.returncode == 0, done.stderr
    done = project("up", "-s", "pr-10", "--expires", "2w", "--yes")
    assert (done.returncode, "pr-10 stays until 20" in done.stderr) == (0, True), done.stderr
    pulumi(project, "stack", "init", "pr-3", "--no-select")
    pulumi(project, "stack", "tag", "set", "slipway:like", "dev", "--stack", "pr-3")
    for name in ("pr-1", "pr-3"):
        pulumi(project, "stack", "tag", "set", "slipway:expires", "2026-01-01T00:00:00Z", "--stack", name)
    settings(project).unlink()  # as in another clone
    project.git("add", "--force", "Pulumi.pr-3.yaml")  # somebody declares it
    done = project("reap", "--preview")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "pr-1 would be taken down: it expired 2026-01-01 00:00 UTC."
    assert lines[1].startswith("pr-10 is kept: it stays until 20")
    assert lines[2] == "pr-3 is kept: Pulumi.pr-3.yaml belongs to the repository."
    done = project("reap", "--json")
    assert done.returncode == 0, done.stderr
    assert {each["name"]: each["takenDown"] for each in json.loads(done.stdout)} == {
        "pr-1": True,
        "pr-10": False,
        "pr-3": False,
    }
    assert left(project) == []
    names = [each["name"] for each in json.loads(pulumi(project, "stack", "ls", "--json"))]
    assert [name for name in names if name.startswith("pr-")] == ["pr-10", "pr-3"]
    updates = json.loads(project("history", "-s", "pr-10", "--json").stdout)
    assert sorted(each["number"] for each in updates) == [1, 2]
    done = project("down", "-s", "pr-10", "--yes")
    assert (done.returncode, left(project, "pr-10")) == (0, []), done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--like", "def"), "There is no environment `def`"),
        (("--like", "pr-1"), "pr-1 cannot be created with --like pr-1"),
        (("--like", "dev", "--expires", "soon"), "--expires is 'soon'."),
        (("--expires", "3d"), "There is no temporary environment pr-1."),
        (("--like", "dev", "--markdown", "nowhere/a.md"), "--markdown nowhere/a.md cannot be written"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    scratch: Any, arguments: tuple[str, ...], message: str
) -> None:
    done = scratch("up", "-s", "pr-1", "--yes", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert left(scratch) == []
    assert scratch.git("status", "--porcelain") == ""


@pytest.mark.parametrize("services", ["3", "{shop: 3}"])
def test_settings_that_no_update_would_take_are_not_copied(scratch: Any, services: str) -> None:
    settings(scratch, "dev").write_text(f"config:\n  slipway:services: {services}\n")
    done = scratch("up", "-s", "pr-1", "--yes", "--like", "dev")
    assert (done.returncode, "Pulumi.dev.yaml: `slipway:services` is" in done.stderr) == (2, True), done.stderr
    assert left(scratch) == []


def test_what_is_declared_or_made_by_hand_is_left_alone(project: Any) -> None:
    done = project("up", "-s", "prod", "--like", "dev", "--yes")
    assert (done.returncode, "prod is not temporary" in done.stderr) == (2, True), done.stderr
    done = project("down", "-s", "prod", "--yes")
    assert (done.returncode, "prod was not taken down: Pulumi.prod.yaml belongs" in done.stderr) == (2, True)
    assert "slipway down -s prod --committed" in done.stderr

    settings(project).write_text("config: {}\n")  # of a person, and not committed yet
    done = project("up", "-s", "pr-1", "--like", "dev", "--yes")
    assert (done.returncode, "pr-1 is not temporary" in done.stderr) == (2, True), done.stderr
    settings(project).unlink()
    pulumi(project, "stack", "init", "pr-1", "--no-select")
    settings(project).unlink(missing_ok=True)
    done = project("up", "-s", "pr-1", "--like", "dev", "--yes")
    assert (done.returncode, "it was not created with --like" in done.stderr) == (2, True), done.stderr
    assert not settings(project).exists()

    done = project("down", "-s", "dev", "--yes", "--committed")
    assert done.returncode == 0, done.stderr
    assert settings(project, "dev").is_file()
    assert project.git("status", "--porcelain") == ""
