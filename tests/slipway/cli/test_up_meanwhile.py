"""Two people at one stack, and production from uncommitted changes: what is recorded, and by whom one is stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.lab

CHANGING = """\
import pulumi_kubernetes as kubernetes
labels = {"app.kubernetes.io/managed-by": "pulumi"}
kubernetes.scheduling.v1.PriorityClass("NAME", metadata={"name": "NAME", "labels": labels}, value=1)
"""


@pytest.fixture
def project(scratch: Any) -> Iterator[Any]:
    yield scratch
    for stack in ("dev", "prod"):
        script = f'eval "$({sys.executable} -m slipway.cli.main env)"; pulumi destroy -s {stack} --yes --skip-preview'
        subprocess.run(["bash", "-c", script], cwd=scratch.folder, env=scratch.environment(), check=False)


def history(project: Any) -> list[dict[str, Any]]:
    files = sorted((project.home / "first" / "backend").rglob("*.history.json"))
    return [json.loads(file.read_text()) for file in files]


def test_an_update_by_somebody_else_stops_the_one_that_was_previewed_before(project: Any) -> None:
    project.program(CHANGING)

    def answer() -> bytes:
        others = project("up", "-s", "dev", "--yes")
        assert others.returncode == 0, others.stderr
        return b"y\n"

    code, screen = project.on_terminal(b"Update dev? [y/N]: ", answer, "up", "-s", "dev")
    assert code == 1, screen
    assert "dev was not updated: it has changed since the preview." in screen
    assert "state: update #1 by a, started at " in screen
    assert len(history(project)) == 1


def test_an_update_that_changed_nothing_stops_nobody(project: Any) -> None:
    assert project("up", "-s", "dev", "--yes").returncode == 0
    project.program(CHANGING)
    second = project.home / "second"
    project.git("clone", "-q", str(project.folder), str(second))
    subprocess.run(["git", "checkout", "-q", "HEAD~1"], cwd=second, check=True)
    (second / ".venv").symlink_to(sys.prefix)

    def answer() -> bytes:
        others = subprocess.run(
            [sys.executable, "-m", "slipway.cli.main", "up", "-s", "dev", "--yes"],
            cwd=second,
            env=project.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert others.returncode == 0, others.stderr
        return b"y\n"

    code, screen = project.on_terminal(b"Update dev? [y/N]: ", answer, "up", "-s", "dev")
    assert code == 0, screen
    assert len(history(project)) == 3


def test_production_from_uncommitted_changes_is_allowed_in_an_emergency_and_recorded(project: Any) -> None:
    (project.folder / "__main__.py").write_text("import pulumi\npulumi.export('a', 1)\n")
    result = project("up", "-s", "prod", "--yes", "--allow-dirty")
    assert result.returncode == 0, result.stderr
    (update,) = history(project)
    assert update["message"] == "uncommitted changes allowed: __main__.py"


def test_development_is_updated_from_uncommitted_changes_unasked(project: Any) -> None:
    (project.folder / "__main__.py").write_text("import pulumi\npulumi.export('a', 1)\n")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    (update,) = history(project)
    assert update["message"] == "a change"
