"""A team's clone takes a later version: a real merge, of files that docs/upgrading.md calls the team's and ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
TEAM = {
    "services/billing/service.yaml": "name: billing\nport: 8080\n",
    "services/billing/Dockerfile": "FROM scratch AS test\nFROM scratch AS runtime\n",
    "Pulumi.qa.yaml": "config:\n  slipway:namespace: shop-qa\n",
    "policy/settings.yaml": None,
    "policy/waivers.yaml": None,
}
OURS = ("components/release.py", "slipway/errors.py", "policy/judge.py", "services/spec.py", "README.md", "Pulumi.yaml")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """The files of this checkout as a repository of one commit."""
    folder = tmp_path / "upstream"
    names = git(CHECKOUT, "ls-files", "-z", "--", ":!tests", ":!lab").split("\0")
    for name in filter(None, names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((CHECKOUT / name).read_bytes())
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A release")
    return folder


def test_a_later_version_merges_into_a_clone_with_services_of_its_own(upstream: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(upstream), str(clone))
    for name, text in TEAM.items():
        file = clone / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# the team's\n{file.read_text()}" if text is None else text)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Our services")

    for name in OURS:
        file = upstream / name
        file.write_text(f"{file.read_text()}# a later version\n")
    (upstream / "policy" / "rules" / "newer.py").write_text('"""A rule that is new."""\n')
    git(upstream, "add", "--all")
    git(upstream, "commit", "--quiet", "--message", "A later release")

    git(clone, "pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
    assert git(clone, "status", "--porcelain") == ""
    for name in OURS:
        assert (clone / name).read_text().endswith("# a later version\n"), name
    for name, text in TEAM.items():
        assert (clone / name).read_text().startswith("# the team's\n" if text is None else text), name
