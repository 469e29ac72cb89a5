"""What says that the gate was passed counts for just one state of the program."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.program_check import VARIABLE, is_passed, token


@pytest.fixture
def program(tmp_path: Path) -> Path:
    files = {
        "__main__.py": "pass",
        "Pulumi.prod.yaml": "config: {}",
        "components/pod.py": "",
        "policy/rules/images.py": "",
        "policy/waivers.yaml": "waivers: []",
        "services/catalog.py": "",
        "services/api/service.yaml": "name: api",
        "services/api/app.py": "",
        "README.md": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def commit(folder: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_the_token_lets_its_own_program_and_stack_through(program: Path) -> None:
    environ = {VARIABLE: token(program, "slipway", "prod")}
    assert is_passed(environ, program, "slipway", "prod")
    assert not is_passed(environ, program, "slipway", "dev")
    assert not is_passed(environ, program, "other", "prod")


@pytest.mark.parametrize("value", ["", "1", "true", "0" * 64])
def test_nothing_passes_by_accident(program: Path, value: str) -> None:
    assert not is_passed({VARIABLE: value}, program, "slipway", "prod")
    assert not is_passed({}, program, "slipway", "prod")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "__main__.py").write_text("1"),
        lambda folder: (folder / "Pulumi.prod.yaml").write_text("config: {a: b}"),
        lambda folder: (folder / "components/pod.py").write_text("1"),
        lambda folder: (folder / "components/new.py").write_text(""),
        lambda folder: (folder / "policy/rules/images.py").unlink(),
        lambda folder: (folder / "policy/waivers.yaml").write_text("waivers: [1]"),
        lambda folder: (folder / "services/api/service.yaml").write_text("name: b"),
        commit,
    ],
)
def test_it_stops_counting_when_what_decides_changes(program: Path, change: Callable[[Path], object]) -> None:
    before = token(program, "slipway", "prod")
    change(program)
    assert token(program, "slipway", "prod") != before


def test_a_services_own_sources_decide_nothing(program: Path) -> None:
    before = token(program, "slipway", "prod")
    (program / "services/api/app.py").write_text("changed")
    (program / "README.md").write_text("changed")
    assert token(program, "slipway", "prod") == before
