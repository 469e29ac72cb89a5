"""Variables that a hook or a build server sets for others say nothing to Slipway, or are named."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.cli.variables import GIT_REPOSITORY
from slipway.deploy.work_tree import previewed_commit
from slipway.paths import cache_home, data_home

ROOT = Path(__file__).parents[1]
UNKNOWN_USER = 59871
ASCII_ALONE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
# Stands for a program of a virtual environment: notes its variables whenever it is to install something.
INSTALLER = """\
#!/usr/bin/env bash
case "$*" in
    *"config list"*) env | sed -n 's/^PIP_INDEX_URL/:env:.index-url/p' ;;
    *" uv") ;;
    *install*) env >"${0##*/}-variables"; echo Resolved; exit %s ;;
esac
"""
ELSEWHERE = {"PIP_TARGET": "/x", "PIP_USER": "1", "PIP_PREFIX": "/x", "PYTHONHOME": "/x", "PYTHONPATH": "/x"}
ELSEWHERE |= {"UV_SYSTEM_PYTHON": "1", "UV_NO_EDITABLE": "1", "UV_WORKING_DIR": "/x"}


@pytest.mark.parametrize(
    ("own", "uv_fails", "installing"),
    [
        ({}, 0, ["uv"]),
        ({}, 1, ["python", "uv"]),
        ({"PIP_INDEX_URL": "https://packages.example/simple"}, 0, ["python"]),
    ],
    ids=["uv", "pip where uv fails", "pip where it has an index of the user's"],
)
def test_packages_are_installed_from_the_user_s_index_and_nowhere_else(
    tmp_path: Path, own: dict[str, str], uv_fails: int, installing: list[str]
) -> None:
    for folder in ("scripts", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "scripts/venv").write_bytes((ROOT / "scripts/venv").read_bytes())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    for program, status in (("python", 0), ("uv", uv_fails)):
        file = tmp_path / ".venv/bin" / program
        file.write_text(INSTALLER % status)
        file.chmod(0o755)
    (tmp_path / ".venv/installed-packages.txt").write_text("others")
    environment = {"PATH": os.environ["PATH"], **own, **ELSEWHERE}
    subprocess.run(["bash", tmp_path / "scripts/venv"], env=environment, check=True, capture_output=True)
    noted = sorted(tmp_path.glob("*-variables"))
    assert [file.name.removesuffix("-variables") for file in noted] == installing
    for file in noted:
        variables = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        assert {name: variables.get(name) for name in own} == own
        assert not set(ELSEWHERE) & set(variables)
    assert not (tmp_path / ".venv/installed-packages.txt").read_text()


def test_a_python_that_is_asked_for_and_too_old_is_named(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/venv").write_bytes((ROOT / "scripts/venv").read_bytes())
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(old)}
    done = subprocess.run(["bash", tmp_path / "scripts/venv"], env=environment, check=False, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"error: PYTHON is {old}, which is no Python 3.11 or newer with the modules venv and ensurepip.\n"
        "  next: Name another one, or unset PYTHON.\n"
    )


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SLIPWAY_HOME": str(folder / "data"), **variables}
    command = [sys.executable, "-m", "slipway.cli.main", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def test_another_package_of_the_same_name_on_pythonpath_is_named(tmp_path: Path) -> None:
    other = tmp_path / "site" / "yaml"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('of another Python')\n")
    (tmp_path / "harmless").mkdir()
    done = run(tmp_path, "--version", PYTHONPATH=f"{tmp_path}/harmless:{other.parent}")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: PYTHONPATH has another `yaml` in front of the one that Slipway was installed with.\n"
        f"  It is {other}/__init__.py.\n  next: Unset PYTHONPATH, or take {other.parent} out of it.\n"
    )
    assert run(tmp_path, "--version", PYTHONPATH=f"{tmp_path}/harmless").returncode == 0


@pytest.mark.parametrize("package", ["services", "policy"])
def test_another_project_s_package_of_one_of_our_names_is_named(tmp_path: Path, package: str) -> None:
    other = tmp_path / "shop" / package
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    paths = {"PYTHONPATH": f"{other.parent}:{ROOT}", "PYTHONSAFEPATH": "1"}
    done = run(tmp_path, "--version", **paths)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"error: PYTHONPATH has another `{package}` in front of the one that Slipway was installed with.\n"
        f"  It is {other}/__init__.py.\n  next: Unset PYTHONPATH, or take {other.parent} out of it.\n"
    )
    assert run(tmp_path, "--version", PYTHONPATH=f"{ROOT}:{other.parent}", PYTHONSAFEPATH="1").returncode == 0


def test_a_locale_without_the_characters_that_are_printed(tmp_path: Path) -> None:
    done = run(tmp_path, "--help", **ASCII_ALONE)
    assert done.returncode == 0
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    "variables", [{"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "TERM": "xterm"}, {"CLICOLOR_FORCE": "1"}]
)
def test_forced_colours_draw_no_line_anew_in_a_file(tmp_path: Path, variables: dict[str, str]) -> None:
    code = "from slipway.progress import Progress\nwith Progress().step('Update dev'): pass"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stderr.startswith(b"Update dev ...\nUpdate dev: ")
    assert b"\x1b[?25l" not in done.stderr


@pytest.mark.parametrize(
    ("name", "variables", "told"),
    [
        (b"caf\xe9", {}, "/caf\ufffd, whose name is not UTF-8, as Pulumi requires."),
        (
            "café".encode(),
            {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
            "There is no environment `dev`",
        ),
    ],
)
def test_a_clone_in_a_folder_whose_name_has_other_characters(
    tmp_path: Path, name: bytes, variables: dict[str, str], told: str
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "slipway.cli.main", "history", "-s", "dev"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert (done.returncode, told in done.stderr.decode()) == (2, True), done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Any:
    """One with a commit, and the variables by which a hook of git would have git look into another one."""
    for name in ("ours", "theirs"):
        folder = tmp_path / name
        folder.mkdir()
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", name]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return tmp_path / "ours", {
        "GIT_DIR": str(tmp_path / "theirs/.git"),
        "GIT_WORK_TREE": str(tmp_path / "theirs"),
        "GIT_INDEX_FILE": str(tmp_path / "theirs/.git/index"),
    }


def test_the_repository_of_a_hook_is_not_taken_for_the_projects(
    repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, variables = repository
    own = previewed_commit(folder)
    code = (
        "import sys\nfrom pathlib import Path\nfrom slipway.cli import main\nfrom slipway.deploy import work_tree\n"
        "main.app = lambda: print(work_tree.previewed_commit(Path.cwd()))\nmain.main()"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == own
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert previewed_commit(folder) != own, "these variables say nothing, so that this tests nothing"


def test_every_variable_of_git_that_says_which_repository_is_known() -> None:
    listed = subprocess.run(["git", "rev-parse", "--local-env-vars"], check=True, capture_output=True, text=True)
    assert {name for name in listed.stdout.split() if not name.startswith("GIT_CONFIG")} <= set(GIT_REPOSITORY)


@pytest.mark.slow
def test_a_terminal_without_a_size_is_as_none(tmp_path: Path) -> None:
    """As an expect script or a build server's terminal has it; a screen of no width shows nothing, errors neither."""
    for arguments, stream in ((["--help"], "stdout"), (["history", "-s", "dev"], "stderr")):
        usual = getattr(run(tmp_path, *arguments), stream)
        assert usual
        for variables in ({"COLUMNS": "0", "LINES": "0"}, {"COLUMNS": "wide", "TERMINAL_WIDTH": "wide"}):
            assert getattr(run(tmp_path, *arguments, **variables), stream) == usual


def test_a_home_that_is_not_set_is_that_of_the_user(tmp_path: Path) -> None:
    """What a service of systemd starts with."""
    own = {"HOME": "", "SLIPWAY_HOME": "", "XDG_DATA_HOME": ""}
    done = run(tmp_path, "env", **own)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    file = f"{home}/.local/share/slipway/toolchain.json"
    assert (done.returncode == 0) if Path(file).exists() else (file in done.stderr.decode())
    code = "import os\nfrom slipway.cli import main\nmain.app = lambda: print(os.environ['HOME'])\nmain.main()"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == f"{home}\n", "what is started finds it too"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_user_whom_the_password_file_does_not_have_gets_one_sentence(tmp_path: Path) -> None:
    keep = "+dac_override,+dac_read_search"  # whose interpreter may lie where only this user reads
    command = ["setpriv", "--reuid", str(UNKNOWN_USER), f"--inh-caps={keep}", f"--ambient-caps={keep}"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, sys.executable, "-m", "slipway.cli.main", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"error: HOME is not set, and user {UNKNOWN_USER} has no home folder.\n"
        "  next: Set HOME to a folder that this user may write.\n",
    )


def test_nothing_that_is_started_waits_for_somebody_to_type(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\nfrom slipway.cli import main\n"
        "start = [sys.executable, '-c', 'import sys; sys.exit(0)']\n"
        "main.app = lambda: sys.exit(7 + subprocess.run(start).returncode)\nmain.main()"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONINSPECT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert b"SystemExit: 7" in done.stderr, "of this Python itself"
    assert b"SystemExit: 0" not in done.stderr


def test_a_relative_folder_of_the_desktop_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """https://specifications.freedesktop.org/basedir-spec/latest/#variables"""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SLIPWAY_HOME", "SLIPWAY_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "relative")
    assert (data_home(), cache_home()) == (tmp_path / ".local/share/slipway", tmp_path / ".cache/slipway")
    monkeypatch.setenv("SLIPWAY_HOME", "own")
    assert data_home() == Path.cwd() / "own"
