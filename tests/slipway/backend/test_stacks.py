"""Git sees no change where a lab's salt stands in a file, and every other change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slipway.backend.stacks import LabSalts, with_salt

SETTINGS = "config:\n  # a comment\n  slipway:namespace: dev\n"
SALT = "v1:H71dB65b1e8=:v1:/+oh9nS443L1xNgp:3NLmXeR6oadeG+0R9jDpRzLDY/mBCQ=="
OTHER_SALT = "v1:MuLm+fCrAXs=:v1:CMam/IVC3+btv/Xt:3x3dpCflDxwPPcbxdZmAp0zSiw2rGA=="


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A committed Pulumi.dev.yaml."""
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(SETTINGS)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return file


def test_the_salt_is_there_and_git_sees_nothing(settings: Path) -> None:
    LabSalts(settings.parent).put(SALT, settings)
    assert settings.read_text() == f"{SETTINGS}encryptionsalt: {SALT}\n"
    assert git(settings.parent, "status", "--porcelain") == ""


def test_other_changes_are_seen_and_committed_without_it(settings: Path) -> None:
    LabSalts(settings.parent).put(SALT, settings)
    settings.write_text(settings.read_text().replace("dev", "other"))
    assert git(settings.parent, "status", "--porcelain") == " M Pulumi.dev.yaml\n"
    git(settings.parent, "commit", "-q", "-a", "-m", "second")
    assert git(settings.parent, "show", "HEAD:Pulumi.dev.yaml") == SETTINGS.replace("dev", "other")
    assert git(settings.parent, "status", "--porcelain") == ""
    assert SALT in settings.read_text()


def test_what_the_user_had_changed_is_not_staged(settings: Path) -> None:
    settings.write_text(SETTINGS.replace("dev", "other"))
    LabSalts(settings.parent).put(SALT, settings)
    assert git(settings.parent, "status", "--porcelain") == " M Pulumi.dev.yaml\n"
    assert git(settings.parent, "diff", "--cached") == ""


def test_a_salt_that_the_engine_wrote_before_is_overlooked_too(settings: Path) -> None:
    settings.write_text(with_salt(SETTINGS, SALT))
    LabSalts(settings.parent).put(SALT, settings)
    assert git(settings.parent, "status", "--porcelain") == ""


def test_the_salt_of_an_earlier_lab_makes_room(settings: Path) -> None:
    salts = LabSalts(settings.parent)
    salts.put(OTHER_SALT, settings)
    salts.put(SALT, settings)
    assert settings.read_text() == f"{SETTINGS}encryptionsalt: {SALT}\n"
    assert git(settings.parent, "status", "--porcelain") == ""


def test_a_salt_of_the_users_own_stays_and_is_seen(settings: Path) -> None:
    settings.write_text(with_salt(SETTINGS, OTHER_SALT))
    LabSalts(settings.parent).put(SALT, settings)
    assert settings.read_text() == with_salt(SETTINGS, OTHER_SALT)
    assert OTHER_SALT in git(settings.parent, "diff")


def test_without_git_the_salt_is_put_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text("")
    LabSalts(tmp_path).put(SALT, file)
    assert file.read_text() == f"encryptionsalt: {SALT}\n"
    assert LabSalts(tmp_path).known() == set()


def test_a_linked_work_tree_knows_the_same_salts(settings: Path, tmp_path: Path) -> None:
    LabSalts(settings.parent).put(SALT, settings)
    linked = tmp_path / "linked"
    git(settings.parent, "worktree", "add", "-q", str(linked))
    LabSalts(linked).put(SALT, linked / "Pulumi.dev.yaml")
    assert LabSalts(linked).known() == {SALT}
    assert git(linked, "status", "--porcelain") == ""


def test_rules_of_the_user_stay(settings: Path) -> None:
    attributes = settings.parent / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text("*.png binary")
    for _ in range(2):
        LabSalts(settings.parent).put(SALT, settings)
        LabSalts(settings.parent).put(OTHER_SALT, settings)
    assert attributes.read_text() == "*.png binary\nPulumi.*.yaml filter=slipway-lab-salts\n"
