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
def project(scratch_after: Any) -> Any:
    """Previewed, which makes the stacks."""
    return scratch_after("preview", "-s", "dev")


@pytest.fixture
def changing(project: Any) -> Iterator[Any]:
    """An update of it makes an object in the cluster."""
    project.program(CHANGING)
    yield project
    script = f'eval "$({sys.executable} -m slipway.cli.main env)"; pulumi destroy -s dev --yes --skip-preview'
    subprocess.run(["bash", "-c", script], cwd=project.folder, env=project.environment(), check=True)


def history(project: Any) -> list[dict[str, Any]]:
    files = sorted((project.home / "first" / "backend").rglob("*.history.json"))
    return [json.loads(file.read_text()) for file in files]


def test_an_update_by_somebody_else_stops_the_one_that_was_previewed_before(changing: Any) -> None:
    def answer() -> bytes:
        others = changing("up", "-s", "dev", "--yes")
        assert others.returncode == 0, others.stderr
        return b"y\n"

    code, screen = changing.on_terminal(b"Update dev? [y/N]: ", answer, "up", "-s", "dev")
    assert code == 1, screen
    assert "dev was not updated: it has changed since the preview." in screen
    assert "state: update #1 by a, started at " in screen
    assert len(history(changing)) == 1


@pytest.mark.thorough  # tests/slipway/deploy/test_approval.py has what is no change of the state
def test_an_update_that_changed_nothing_stops_nobody(changing: Any) -> None:
    subprocess.run(["git", "checkout", "-q", "HEAD~1"], cwd=changing.folder, check=True)
    assert changing("up", "-s", "dev", "--yes").returncode == 0
    subprocess.run(["git", "checkout", "-q", "-"], cwd=changing.folder, check=True)
    second = changing.home / "second"
    changing.git("clone", "-q", str(changing.folder), str(second))
    subprocess.run(["git", "checkout", "-q", "HEAD~1"], cwd=second, check=True)
    (second / ".venv").symlink_to(sys.prefix)

    def answer() -> bytes:
        others = subprocess.run(
            [sys.executable, "-m", "slipway.cli.main", "up", "-s", "dev", "--yes"],
            cwd=second,
            env=changing.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert others.returncode == 0, others.stderr
        return b"y\n"

    code, screen = changing.on_terminal(b"Update dev? [y/N]: ", answer, "up", "-s", "dev")
    assert code == 0, screen
    assert len(history(changing)) == 3


def test_production_from_uncommitted_changes_is_allowed_in_an_emergency_and_recorded(project: Any) -> None:
    (project.folder / "__main__.py").write_text("import pulumi\npulumi.export('a', 1)\n")
    result = project("up", "-s", "prod", "--yes", "--allow-dirty")
    assert result.returncode == 0, result.stderr
    (update,) = history(project)
    assert update["message"] == "uncommitted changes allowed: __main__.py"


@pytest.mark.thorough  # as is the changed program in test_up_again.py
def test_development_is_updated_from_uncommitted_changes_unasked(project: Any) -> None:
    (project.folder / "__main__.py").write_text("import pulumi\npulumi.export('a', 1)\n")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    (update,) = history(project)
    assert update["message"] == "a change"
