"""What counts as uncommitted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slipway.deploy.work_tree import message, previewed_commit, require_committed, uncommitted
from slipway.errors import ConfigurationError
from slipway.project import Project


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project in a folder of its repository."""
    git(tmp_path, "init", "-q")
    project = tmp_path / "a project"
    for name in ("__main__.py", "README.md", "services/a/app.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("1")
    (tmp_path / "elsewhere.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return project


def test_a_committed_work_tree(folder: Path) -> None:
    assert uncommitted(folder) == []


def test_changes_removals_and_what_is_staged(folder: Path) -> None:
    (folder / "README.md").write_text("2")
    (folder / "services/a/app.py").unlink()
    (folder / "__main__.py").write_text("2")
    git(folder, "add", "__main__.py")
    assert sorted(uncommitted(folder)) == ["README.md", "__main__.py", "services/a/app.py"]


def test_new_files_count_where_they_are_part_of_the_program(folder: Path) -> None:
    for name in ("services/b/app.py", "Pulumi.prod.yaml", "notes.txt", "docs/x.md", "scripts/x.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert sorted(uncommitted(folder)) == ["Pulumi.prod.yaml", "services/b/app.py"]


def test_a_preview_calls_no_commit_clean_that_lacks_a_service(folder: Path) -> None:
    assert not previewed_commit(folder).endswith("-dirty")
    (folder / "notes.txt").touch()
    assert not previewed_commit(folder).endswith("-dirty")
    (folder / "services/b").mkdir()
    (folder / "services/b/service.yaml").touch()
    assert previewed_commit(folder).endswith("-dirty")


@pytest.mark.parametrize("pattern", ["build/", "service.yaml", "services/build", "*.yaml\n*.py"])
def test_a_service_that_git_ignores_is_in_no_commit(folder: Path, pattern: str) -> None:
    (folder / ".gitignore").write_text(f"{pattern}\n__pycache__/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "second")
    for name in ("services/a/__pycache__/app.pyc", "services/__pycache__/app.pyc", "build/notes.txt", "notes.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert not previewed_commit(folder).endswith("-dirty")
    (folder / "services/build").mkdir()
    (folder / "services/build/service.yaml").touch()
    assert [name.rstrip("/") for name in uncommitted(folder)] in (
        ["services/build"],
        ["services/build/service.yaml"],
    )
    assert previewed_commit(folder).endswith("-dirty")


def test_a_name_with_blanks_counts_too(folder: Path) -> None:
    for name in ("services/a/a new file.py", "a new program.py", "a note.txt"):
        (folder / name).touch()
    assert sorted(uncommitted(folder)) == ["a new program.py", "services/a/a new file.py"]


def test_production_needs_a_repository_that_git_reads(folder: Path) -> None:
    """As that of another user, which git takes for a trap."""
    (folder.parent / ".git" / "HEAD").write_text("nonsense")
    (folder / "policy").mkdir()
    (folder / "policy" / "settings.yaml").write_text("environments: {dev: dev}\n")
    project = Project(folder)
    with pytest.raises(ConfigurationError, match="git cannot tell") as caught:
        require_committed(project, "prod", allowed=False)
    assert "git" in caught.value.why
    assert require_committed(project, "prod", allowed=True) == require_committed(project, "dev", allowed=False) == []


def test_what_is_outside_the_project_does_not_count(folder: Path) -> None:
    (folder.parent / "elsewhere.py").write_text("2")
    assert uncommitted(folder) == []


def test_without_a_repository_nothing_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").touch()
    assert uncommitted(tmp_path) == []


def test_the_message_names_files() -> None:
    assert message(["a.py", "b.py"]) == "uncommitted changes allowed: a.py, b.py"
    assert message([f"{number}.py" for number in range(9)]).endswith("7.py and 1 more")
