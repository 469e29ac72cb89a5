"""`slipway up` with the real engine, on a project so small that only the engine can go wrong.

The lab's toolchain is used; all else is the test's own, as if another lab had made it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab

SLEEPING = """\
import pulumi, time
if not pulumi.runtime.is_dry_run():
    open("started", "w").close()
    time.sleep(60)
"""
CHANGING = """\
import pulumi_kubernetes as kubernetes
labels = {"app.kubernetes.io/managed-by": "pulumi"}
kubernetes.scheduling.v1.PriorityClass("NAME", metadata={"name": "NAME", "labels": labels}, value=1)
"""


@pytest.fixture
def project(scratch_after: Any) -> Any:
    """Updated once."""
    return scratch_after("up", "-s", "dev", "--yes")


def by_hand(project: Any, command: str) -> str:
    """What a user's shell prints after `eval "$(slipway env)"`."""
    script = f'eval "$({sys.executable} -m slipway.cli.main env)"\n{command}'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project.folder,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def is_clean(project: Any) -> bool:
    return bool(project.git("status", "--porcelain") == "")


def test_an_update_makes_the_stacks_and_prints_where_the_services_answer(scratch: Any) -> None:
    result = scratch("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    services, gate, build, *_ = re.split(r"\n(?=\S)", result.stdout.strip())
    assert services == "a-service  http://10.0.0.1"
    assert re.fullmatch(
        r"G  policies \d+\.\d s \(\d+ policies evaluated\) · preview not needed · approve by --yes", gate
    )
    assert build.startswith("B  nothing changed")
    assert "Created stack dev" in result.stderr
    assert "Created stack prod" in result.stderr


def test_the_checkout_stays_clean_by_slipway_and_by_hand(project: Any) -> None:
    assert is_clean(project)
    by_hand(project, "pulumi up -s prod --yes --skip-preview --non-interactive")
    assert is_clean(project)


@pytest.mark.thorough  # backend/test_stacks.py has the salt that a clone lacks
def test_a_second_clone_opens_the_same_stacks(project: Any, tmp_path: Path) -> None:
    second = tmp_path / "second"
    project.git("clone", "-q", str(project.folder), str(second))
    (second / ".venv").symlink_to(sys.prefix)
    project.folder = second
    by_hand(project, "pulumi up -s dev --yes --skip-preview --non-interactive")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    assert is_clean(project)


def test_a_secret_set_by_hand_is_read_and_is_all_that_git_sees(project: Any) -> None:
    by_hand(project, "pulumi config set --secret token abcde -s dev")
    added = [line for line in project.git("diff").splitlines() if line.startswith("+ ")]
    assert len(added) == 2
    assert added[0] == "+  scratch:token:"
    assert added[1].startswith("+    secure: v1:")
    assert project("up", "-s", "dev", "--yes").returncode == 0
    assert by_hand(project, "pulumi stack output token -s dev --show-secrets").strip() == "5"


@pytest.mark.thorough  # as there, the salt of another lab
def test_a_new_lab_does_not_stumble_over_the_salt_of_the_old_one(project: Any) -> None:
    project.use_lab("second")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    assert is_clean(project)


def test_a_backend_of_the_users_own_gets_no_stack_unasked(scratch: Any, tmp_path: Path) -> None:
    backend = tmp_path / "own"
    backend.mkdir()
    result = scratch("up", "-s", "dev", "--yes", PULUMI_BACKEND_URL=f"file://{backend}")
    assert result.returncode == 0, result.stderr
    assert "Created stack dev" in result.stderr
    stacks = (backend / ".pulumi" / "stacks" / "scratch").glob("*.json")
    assert [file.stem for file in stacks] == ["dev"]
    assert not is_clean(scratch)  # a shared backend's salt is for everyone: it is to be committed


def test_a_wrong_passphrase_is_refused_before_anything_happens(project: Any) -> None:
    result = project("up", "-s", "dev", "--yes", PULUMI_CONFIG_PASSPHRASE="wrong")
    assert result.returncode == 2
    assert "The passphrase does not decrypt the secrets of stack dev." in result.stderr


def test_a_passphrase_file_that_is_missing_is_reported(project: Any) -> None:
    result = project("up", "-s", "dev", "--yes", PULUMI_CONFIG_PASSPHRASE_FILE="/nonexistent")
    assert result.returncode == 2
    assert "The passphrase of stack dev cannot be read." in result.stderr
    assert "/nonexistent" in result.stderr


def test_an_unreachable_backend_is_reported(project: Any) -> None:
    result = project("up", "-s", "dev", "--yes", PULUMI_BACKEND_URL="file:///nonexistent")
    assert result.returncode == 2
    assert "The backend that keeps the state cannot be opened." in result.stderr


def test_a_missing_engine_is_reported(project: Any) -> None:
    project.write_toolchain(PATH=[])
    result = project("up", "-s", "dev", "--yes", PATH="/usr/bin:/bin")
    assert result.returncode == 2
    assert "`pulumi` was not found on PATH." in result.stderr
    assert "slipway doctor" in result.stderr


@pytest.mark.thorough  # as of one that has declared something, in test_up_refusals.py
def test_an_error_of_the_program_is_shown_once(project: Any) -> None:
    (project.folder / "__main__.py").write_text('raise ValueError("no such thing")\n')
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 1
    assert result.stderr.count("ValueError: no such thing") == 1
    assert "slipway/" not in result.stderr.split("error:", 1)[1].split("Traceback", 1)[0]


def test_settings_that_are_no_yaml_are_reported_with_their_line(project: Any) -> None:
    (project.folder / "Pulumi.dev.yaml").write_text("config:\n  a: [\n")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 2
    assert "Pulumi.dev.yaml" in result.stderr
    assert "line 3" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("typed", "code"), [(b"n\n", 1), (b"y\n", 0), pytest.param(b"\x03", 130, marks=pytest.mark.thorough)]
)
def test_on_a_terminal_it_asks_before_it_changes_anything(project: Any, typed: bytes, code: int) -> None:
    project.program(CHANGING)
    before = updates(project)
    try:
        ended, screen = project.on_terminal(b"Update dev? [y/N]: ", lambda: typed, "up", "-s", "dev")
        assert ended == code, screen
        assert "outside any service" in screen
        assert ": created" in screen
        assert updates(project) - before == (code == 0)
        assert project.locks() == []
    finally:
        if updates(project) > before:
            by_hand(project, "pulumi destroy -s dev --yes --skip-preview --non-interactive")


def updates(project: Any) -> int:
    return len(list((project.home / "first" / "backend").rglob("*.history.json")))


@pytest.mark.thorough  # as after an update, in test_up_again.py
def test_on_a_terminal_there_is_no_question_without_changes(scratch: Any) -> None:
    ended, screen = scratch.on_terminal(b"Update dev? [y/N]: ", lambda: b"n\n", "up", "-s", "dev")
    assert ended == 0, screen
    assert "Update dev?" not in screen


class Running:
    """A `slipway up` that is inside a program which sleeps."""

    def __init__(self, project: Any) -> None:
        (project.folder / "__main__.py").write_text(SLEEPING)
        self.process: subprocess.Popen[str] = project.in_background("up", "-s", "dev", "--yes")

    def engine(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (engine,) = (int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "pulumi\n")
        return engine

    def ended(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def running(project: Any) -> Iterator[Running]:
    update = Running(project)
    yield update
    if update.process.poll() is None:
        update.process.kill()
        update.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_an_interrupt_ends_the_update_cleanly(project: Any, running: Running, number: signal.Signals) -> None:
    assert project.locks()
    running.process.send_signal(number)
    code, errors = running.ended()
    assert code == 130
    assert "was interrupted" in errors
    assert "Traceback" not in errors
    assert project.locks() == []


def test_a_second_interrupt_ends_it_at_once(project: Any, running: Running) -> None:
    os.kill(running.engine(), signal.SIGSTOP)  # an engine that does not react to the first
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert running.process.poll() is None
    running.process.send_signal(signal.SIGINT)
    code, errors = running.ended()
    assert code == 130
    assert "Interrupted again" in errors


def test_the_lock_says_who_holds_it_and_is_released_by_the_next_update_when_that_engine_was_killed(
    project: Any, running: Running
) -> None:
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 1
    assert "Stack dev is locked" in result.stderr
    assert f"pid {running.engine()}" in result.stderr
    assert "pulumi cancel -s dev" in result.stderr
    (holder,) = (project.home / "data" / "locks").glob("*.json")  # by which its end would be known in a container, too
    engine = running.engine()
    assert json.loads(holder.read_text())["pid"] == engine

    os.kill(engine, signal.SIGKILL)
    code, errors = running.ended()
    assert code == 1
    assert "The engine was killed by SIGKILL" in errors
    assert project.locks()
    project.program("")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 0, result.stderr
    assert f"process {engine}, which held it, has ended" in result.stderr
