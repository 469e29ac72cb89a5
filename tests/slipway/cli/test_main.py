"""What every command has in common: help, usage errors, the words and the exit code of an error."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from slipway.cli import main as command_line
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.paths import CHECKOUT

# As the installed script is called.
PROGRAM = "from slipway.cli.main import app; app(prog_name='slipway')"
COMMANDS = [
    "comment",
    "diff",
    "doctor",
    "down",
    "drift",
    "env",
    "history",
    "lab",
    "new",
    "preview",
    "promote",
    "reap",
    "rollback",
    "up",
    "verify",
    "where",
]


def test_help_lists_every_command(slipway: Any) -> None:
    result = slipway("--help")
    assert result.returncode == 0
    listed = result.stdout.split("Commands", 1)[1]
    names = [line.split()[1] for line in listed.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert sorted(names) == COMMANDS


@pytest.mark.parametrize("command", ["", *COMMANDS, "lab up", "lab down", "lab status", "lab toolchain"])
def test_a_flag_is_shown_without_a_value(slipway: Any, command: str) -> None:
    result = slipway(*command.split(), "--help")
    assert "--help" in result.stdout
    assert "bool" not in result.stdout.lower()


@pytest.mark.parametrize(
    "arguments",
    [["up"], ["up", "-s"], ["nonsense"], ["up", "-s", "dev", "--nonsense"], ["lab", "sideways"], ["env", "more"]],
)
def test_bad_usage_exits_with_2_and_no_traceback(slipway: Any, arguments: list[str]) -> None:
    result = slipway(*arguments)
    assert result.returncode == ExitCode.USAGE
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_environment_is_reported_with_the_known_ones(slipway: Any) -> None:
    result = slipway("up", "-s", "prd", "--yes")
    assert result.returncode == ExitCode.USAGE
    assert result.stderr == (
        f"error: There is no environment `prd`: {slipway.folder}/Pulumi.prd.yaml does not exist.\n"
        "  Environments here: dev, prod. Did you mean `prod`?\n"
        "  next: Use -s with one of them, or write Pulumi.prd.yaml; "
        "`slipway up -s prd --like ENV` makes a temporary one.\n"
    )


def test_a_folder_without_a_project_is_reported(slipway: Any) -> None:
    (slipway.folder / "Pulumi.yaml").unlink()
    result = slipway("up", "-s", "dev", "--yes")
    assert result.returncode == ExitCode.USAGE
    assert "There is no Pulumi.yaml in" in result.stderr


def test_nobody_to_ask_is_a_usage_error(slipway: Any) -> None:
    result = slipway("up", "-s", "dev")
    assert result.returncode == ExitCode.USAGE
    assert "--yes" in result.stderr


def test_a_lab_that_is_down_is_reported_at_once(slipway: Any) -> None:
    slipway.write_toolchain()
    slipway.write_lab(SLIPWAY_REGISTRY="127.0.0.1:1")
    result = slipway("up", "-s", "dev", "--yes")
    assert result.returncode == ExitCode.USAGE
    assert "127.0.0.1:1 does not answer" in result.stderr
    assert "slipway lab up" in result.stderr


def test_no_cluster_at_all_is_reported(slipway: Any) -> None:
    slipway.write_toolchain()
    result = slipway("up", "-s", "dev", "--yes")
    assert result.returncode == ExitCode.USAGE
    assert "There is no cluster to deploy to" in result.stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """`main` with a command line that raises what it is given; returns the exit code."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.delenv("SLIPWAY_DEBUG", raising=False)

    def run(error: BaseException) -> int:
        def raise_it() -> None:
            raise error

        monkeypatch.setattr(command_line, "app", raise_it)
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        return int(ended.value.code or 0)

    return run


def test_an_error_says_what_why_and_what_next(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(SlipwayError("It broke.", why="A [cause].\nAnother.", next_step="Do this.")) == 1
    assert capsys.readouterr().err == "error: It broke.\n  A [cause].\n  Another.\n  next: Do this.\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (SlipwayError("x", code=ExitCode.POLICY), 3),
        (SlipwayError("x", code=ExitCode.INTERRUPTED), 130),
    ],
)
def test_the_exit_code_is_the_errors(failing: Any, error: SlipwayError, code: int) -> None:
    assert failing(error) == code


def test_a_defect_leaves_its_traceback_in_a_log(
    failing: Any, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    assert failing(ZeroDivisionError("oops")) == 1
    (log,) = (tmp_path / "logs").iterdir()
    assert "raise error" in log.read_text()
    output = capsys.readouterr().err
    assert output.startswith(f"error: Unexpected ZeroDivisionError: oops\n  Its traceback is in {log}\n")
    assert log.stat().st_mode & 0o077 == 0, "for its owner alone"
    assert "Traceback (most" not in output


def test_the_traceback_is_shown_on_request(
    failing: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_DEBUG", "1")
    failing(ZeroDivisionError("oops"))
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="counts the modules of a fresh interpreter")
def test_help_and_env_load_nothing_heavy(slipway: Any) -> None:
    slipway.write_toolchain()
    for arguments in (["--help"], ["env"]):
        loaded = slipway.in_a_process(*arguments, PYTHONPROFILEIMPORTTIME="1").stderr
        for heavy in ("pulumi", "kubernetes", "grpc", "slipway.engine.pulumi_cli", "lab"):
            assert f" {heavy}{os.linesep}" not in loaded, f"{arguments} imports {heavy}"


def test_the_version_is_the_packages(slipway: Any) -> None:
    result = slipway("--version")
    assert (result.returncode, result.stdout) == (0, f"slipway {version('slipway')}\n")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("slipway ro", ["rollback"]),
        ("slipway lab ", ["up", "down", "status", "databases", "toolchain"]),
        ("slipway up -s p", ["prod"]),
        ("slipway drift --stack ", ["dev", "prod"]),
    ],
)
def test_a_shell_completes_commands_and_environments(words: str, completed: list[str]) -> None:
    variables = {
        "_SLIPWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == completed


def test_completion_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    # `exit` keeps bash there as the parent, which is how the shell is found out
    ask = f'{sys.executable} -c "{PROGRAM}" --install-completion; exit $?'
    done = subprocess.run(
        ["bash", "-c", ask],
        cwd=CHECKOUT,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bash completion installed" in done.stdout
    assert "slipway" in (tmp_path / ".bashrc").read_text()


def test_a_data_folder_that_cannot_be_written_is_named(slipway: Any) -> None:
    slipway.write_toolchain()
    slipway.write_lab()
    (slipway.home / "data" / "logs").touch()
    for arguments in (("up", "--yes"), ("rollback", "--yes")):
        done = slipway(*arguments, "-s", "dev")
        assert done.returncode == 2, done.stderr
        assert f"The data folder {slipway.home / 'data'} cannot be written." in done.stderr
        assert "set SLIPWAY_HOME to a folder that is." in done.stderr
