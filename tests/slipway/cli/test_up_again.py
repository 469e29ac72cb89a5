"""An update of what the last one left is not judged again; whatever moved since brings the policies back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab

NOT_NEEDED = "Preview of scratch/dev: not needed, nothing has changed since update #"


@pytest.fixture
def project(scratch_after: Any) -> Any:
    """Updated once, so that the next update finds nothing to do."""
    return scratch_after("up", "-s", "dev", "--yes")


def test_the_same_again_is_updated_with_the_policies_and_without_a_preview(project: Any) -> None:
    again = project("up", "-s", "dev", "--yes")
    assert again.returncode == 0, again.stderr
    (project.folder / "README.md").write_text("hello\n")
    project.commit()
    with_another_commit = project("up", "-s", "dev", "--yes")
    for done in (again, with_another_commit):
        assert done.returncode == 0, done.stderr
        assert f"{NOT_NEEDED}1, which passed." in done.stdout
        assert "Update dev: done" in done.stderr
        assert "Created" not in done.stderr
        assert "G  preview not needed · approve by --yes" in done.stdout


def a_program(project: Any) -> None:
    (project.folder / "__main__.py").write_text("# nothing\n")


def a_setting(project: Any) -> None:
    (project.folder / "Pulumi.dev.yaml").write_text("config:\n  scratch:greeting: good day\n")


def a_policy(project: Any) -> None:
    (project.folder / "policy" / "waivers.yaml").write_text("waivers: []  # none\n")


def a_source(project: Any) -> None:
    (project.folder / "services" / "a").mkdir(parents=True)
    (project.folder / "services" / "a" / "app.py").touch()


def a_variable(project: Any) -> None:
    project.variables["GREETING"] = "hello"


def a_secret_file(project: Any) -> None:
    project.variables["TOKEN_FILE"] = str(project.home / "token")
    assert project("up", "-s", "dev", "--yes").returncode == 0
    (project.home / "token").write_text("another")


def the_state(project: Any) -> None:
    script = f'eval "$({sys.executable} -m slipway.cli.main env)"; pulumi destroy -s dev --yes --skip-preview'
    subprocess.run(["bash", "-c", script], cwd=project.folder, env=project.environment(), check=True)


def the_record(project: Any) -> None:
    (file,) = (project.home / "data" / "passed").iterdir()
    file.write_text("{")


@pytest.mark.parametrize(
    "move",
    [
        a_program,
        the_state,
        *(
            pytest.param(move, marks=pytest.mark.thorough)  # tests/slipway/deploy/test_last_update.py has them all
            for move in (a_setting, a_policy, a_source, a_variable, a_secret_file, the_record)
        ),
    ],
)
def test_what_moved_is_held_to_the_policies_again(project: Any, move: Callable[[Any], None]) -> None:
    move(project)
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    assert "policies evaluated" in result.stdout or "1 policy evaluated" in result.stdout
    assert "not needed, nothing" not in result.stdout


def test_whoever_can_approve_sees_a_preview(project: Any) -> None:
    code, screen = project.on_terminal(b"[y/N]: ", lambda: b"n\n", "up", "-s", "dev")
    assert code == 0, screen
    assert "nothing to do" in screen
    assert "Update dev?" not in screen


def test_the_policies_judge_the_update_too(scratch: Any) -> None:
    """What they refuse there was not known before: a program that is not the same twice."""
    scratch.program(
        "import pulumi, pulumi_kubernetes as kubernetes\n"
        'labels = {"app.kubernetes.io/managed-by": "pulumi"} if pulumi.runtime.is_dry_run() else {}\n'
        'kubernetes.scheduling.v1.PriorityClass("NAME", metadata={"name": "NAME", "labels": labels}, value=1)\n'
    )
    result = scratch("up", "-s", "dev", "--yes", "--no-rollback")
    assert result.returncode == 3, result.stdout + result.stderr
    assert "required-labels" in result.stderr
    assert "not needed" not in scratch("up", "-s", "dev", "--yes", "--no-rollback").stdout
    assert not list(Path(scratch.home, "data").glob("passed/*"))


@pytest.mark.thorough  # as in a preview, in test_up_refusals.py
def test_a_pack_that_hangs_while_it_loads_does_not_hold_up_an_update_that_is_not_previewed(scratch: Any) -> None:
    switch, pack = scratch.home / "hang", scratch.folder / "policy" / "__main__.py"
    pack.write_text(f"import os, time\ntime.sleep(3600 if os.path.exists({str(switch)!r}) else 0)\n{pack.read_text()}")
    scratch.variables["SLIPWAY_POLICY_TIMEOUT_SECONDS"] = "15"
    assert scratch("up", "-s", "dev", "--yes").returncode == 0
    switch.touch()
    hung = scratch("up", "-s", "dev", "--yes")
    assert NOT_NEEDED in hung.stdout
    assert (hung.returncode, "did not load in 15 s" in hung.stderr) == (1, True), hung.stderr
    assert "Nothing was changed." in hung.stderr
    switch.unlink()
    again = scratch("up", "-s", "dev", "--yes")
    assert again.returncode == 0, again.stderr
