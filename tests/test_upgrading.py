"""A team that changes its own files gets a later version, in which all of ours have changed, by `git merge`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from services import catalog
from slipway.cli.new import new
from slipway.paths import CHECKOUT
from tests.example import SERVICES

PAGE = (CHECKOUT / "docs/upgrading.md").read_text(encoding="utf-8")
# As the page says it.
MERGE = [*re.findall(r"&& git (merge .*)", PAGE)[0].split(), "--quiet", "--no-edit"]


def listed(heading: str) -> list[str]:
    """The patterns in the first column of the table under this heading of its own."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def is_the_teams(path: str) -> bool:
    def fits(pattern: str) -> bool:  # to fnmatch, unlike git, `*` is any path, too
        return fnmatchcase(path, pattern.replace("**", "*")) and path.count("/") >= pattern.count("/")

    if any(
        fits(pattern) for pattern in listed("not yours") if "**" in pattern or path.count("/") == pattern.count("/")
    ):
        return False
    return any(fits(pattern) for pattern in listed("yours"))


class Repository:
    """A clone; git in it has an author, and nothing of the user's settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str, fails: bool = False) -> str:
        identity = {
            f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_SYSTEM": os.devnull,
                **identity,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def files(self) -> list[str]:
        return self.git("ls-files", "-z").split("\0")[:-1]

    def append(self, file: str, text: str) -> None:
        path = self.folder / file
        path.write_bytes(path.read_bytes() + text.encode())


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    """This checkout, committed or not, as the version that the team cloned."""
    made = Repository(tmp_path / "upstream")
    here = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(here, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in names:
        if name and (CHECKOUT / name).is_file():
            (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, made.folder / name)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit("A version")
    return made


@pytest.fixture
def team(upstream: Repository, tmp_path: Path) -> Repository:
    """A clone by the words of the page, in which the team has changed files of its own, of each kind."""
    upstream.git("clone", "--quiet", str(upstream.folder), str(tmp_path / "team"))
    made = Repository(tmp_path / "team")
    made.git("remote", "rename", "origin", "upstream")
    new("parcel-service", made.folder)
    made.append("services/user_service/service.yaml", "# the team's\n")
    for stack in ("dev", "prod"):
        made.append(f"Pulumi.{stack}.yaml", "  slipway:checksTimeoutSeconds: 60\n")
    shutil.copy(made.folder / "Pulumi.dev.yaml", made.folder / "Pulumi.staging.yaml")
    for file, old, its in (
        ("policy/settings.yaml", "registries: []", "registries: [registry.example/team]"),
        (
            "policy/waivers.yaml",
            "\nwaivers: []",
            "\nwaivers:\n  - {rule: replicas, resource: Deployment/a, reason: b, expires: 2030-01-31}",
        ),
    ):
        text = (made.folder / file).read_text()
        assert old in text
        (made.folder / file).write_text(text.replace(old, its))
    made.commit("Our services")
    return made


def release(upstream: Repository, *more: str) -> None:
    """A later version: every file of ours has changed at both ends or more, one is new, and `more` have changed too."""
    for name in upstream.files():
        if not is_the_teams(name) or name in more:
            path = upstream.folder / name
            path.write_bytes(b"# upstream\n" + path.read_bytes() + b"# upstream\n")
    (upstream.folder / "components/another.py").write_text("")
    (upstream.folder / "services/kit/kit/another.py").write_text("")
    upstream.commit("A later version")


def test_the_page_tells_whose_files_are_whose() -> None:
    theirs = [
        "services/a/service.yaml",
        "services/a/b/c.py",
        "Pulumi.dev.yaml",
        "policy/settings.yaml",
        "policy/waivers.yaml",
    ]
    ours = ["services/kit/kit/logs.py", "services/spec.py", "Pulumi.yaml", "policy/rules/images.py", "slipway/stack.py"]
    assert [name for name in theirs if not is_the_teams(name)] == []
    assert [name for name in ours if is_the_teams(name)] == []


@pytest.mark.slow
def test_a_later_version_is_merged_without_a_conflict(upstream: Repository, team: Repository) -> None:
    own = {name: (team.folder / name).read_bytes() for name in team.files() if is_the_teams(name)}
    release(upstream)
    team.git("fetch", "--quiet", "upstream")
    team.git("switch", "--quiet", "--create", "upgrade")
    team.git(*MERGE)
    assert {name: (team.folder / name).read_bytes() for name in own} == own
    ours = [name for name in upstream.files() if not is_the_teams(name)]
    assert len(ours) > 300
    different = [name for name in ours if (team.folder / name).read_bytes() != (upstream.folder / name).read_bytes()]
    assert different == []
    assert set(team.files()) == set(ours) | set(own)
    loaded = catalog.load(team.folder / "services")
    assert {service.name for service in loaded} == {"parcel-service", *SERVICES}
    assert yaml.safe_load((team.folder / "policy/settings.yaml").read_text())["registries"] == ["registry.example/team"]


@pytest.mark.slow
def test_a_change_to_a_file_of_ours_is_a_conflict(upstream: Repository, team: Repository) -> None:
    team.append("services/kit/kit/logs.py", "# the team's\n")
    team.commit("Change the kit")
    release(upstream)
    team.git("fetch", "--quiet", "upstream")
    team.git(*MERGE, fails=True)
    assert team.git("diff", "--name-only", "--diff-filter=U").split() == ["services/kit/kit/logs.py"]


@pytest.mark.slow
def test_an_example_that_the_team_removed_or_changed_stays_so(upstream: Repository, team: Repository) -> None:
    removed, changed = "services/order_service", "services/user_service"
    team.git("rm", "--quiet", "-r", removed)
    team.commit("Remove an example")
    release(upstream, f"{removed}/Dockerfile", f"{changed}/service.yaml")
    team.git("fetch", "--quiet", "upstream")
    team.git(*MERGE, fails=True)
    its = (f"{removed}/Dockerfile", f"{changed}/service.yaml")
    assert set(team.git("diff", "--name-only", "--diff-filter=U").split()) == set(its)
    keep, drop = re.findall(r"^\$ (git checkout --ours .*?|git rm .*?)\s*#", PAGE, re.MULTILINE)
    for command in (keep, drop.replace(changed, removed)):
        for each in command.split(" && "):
            team.git(*each.split()[1:])
    team.git("commit", "--quiet", "--no-edit")
    assert not (team.folder / removed).exists()
    assert (team.folder / changed / "service.yaml").read_text().endswith("# the team's\n")
