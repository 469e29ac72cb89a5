"""What a user sees when a program fails under the language host: the program's error, and nothing of the machinery."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab
NewProject = Callable[..., Any]


def diagnostics(output: str) -> str:
    """The block of the stack's diagnostics, unindented."""
    block = output.split("pulumi:pulumi:Stack (tiny-dev):\n", 1)[1].split("\nResources:", 1)[0]
    return "\n".join(line.removeprefix("    ").rstrip() for line in block.strip("\n").splitlines())


RUN_ERROR = 'import pulumi\nraise pulumi.RunError("no database: set tiny:database")\n'
RUN_ERROR_IN_APPLY = """
    import pulumi
    def check(_):
        raise pulumi.RunError("no database: set tiny:database")
    pulumi.Output.from_input(1).apply(check)
"""


@pytest.mark.parametrize(
    "program",
    [pytest.param(RUN_ERROR, id="main", marks=pytest.mark.thorough), pytest.param(RUN_ERROR_IN_APPLY, id="apply")],
)
def test_run_error_is_its_message_alone(new_project: NewProject, program: str) -> None:
    done = new_project(program).up()

    assert done.code == 1
    assert diagnostics(done.output) == "error: no database: set tiny:database"


def test_exception_has_a_traceback_of_the_program_only(new_project: NewProject) -> None:
    project = new_project(
        """
        import helper_module
        try:
            helper_module.broken({})
        except KeyError as error:
            raise ValueError("no size") from error
        """
    )
    helper = project.write("helper_module.py", 'def broken(settings):\n    return settings["size"]\n')
    program = project.folder / "__main__.py"

    done = project.up()

    lines = [line for line in diagnostics(done.output).splitlines() if not set(line) <= set(" ~^")]
    assert done.code == 1
    assert lines == [
        "error: Program failed with an unhandled exception:",
        "Traceback (most recent call last):",
        f'  File "{program}", line 4, in <module>',
        "    helper_module.broken({})",
        f'  File "{helper}", line 2, in broken',
        '    return settings["size"]',
        "KeyError: 'size'",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        f'  File "{program}", line 6, in <module>',
        '    raise ValueError("no size") from error',
        "ValueError: no size",
    ]


def test_exception_in_an_apply_starts_at_the_programs_frame(new_project: NewProject) -> None:
    done = new_project("import pulumi\npulumi.Output.from_input(1).apply(lambda value: value.size)\n").up()

    shown = diagnostics(done.output)
    assert shown.count("File ") == 1
    assert "AttributeError: 'int' object has no attribute 'size'" in shown


def test_syntax_error_shows_file_line_and_place(new_project: NewProject) -> None:
    project = new_project("import pulumi\n\ndef broken(:\n    pass\n")

    shown = diagnostics(project.up().output)

    assert shown.splitlines() == [
        "error: Program failed with an unhandled exception:",
        f'  File "{project.folder / "__main__.py"}", line 3',
        "    def broken(:",
        "               ^",
        "SyntaxError: invalid syntax",
    ]


def test_missing_program(new_project: NewProject) -> None:
    project = new_project("")
    (project.folder / "__main__.py").unlink()

    done = project.up()

    assert diagnostics(done.output) == f"error: unable to find main python program `__main__.py` in `{project.folder}`"


@pytest.mark.parametrize(
    ("program", "code", "error"),
    [
        pytest.param("raise SystemExit(0)", 0, "", marks=pytest.mark.thorough),
        pytest.param("raise SystemExit(7)", 1, "program exited with non-zero exit code: 7", marks=pytest.mark.thorough),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 1, "program was ended by signal 9"),
    ],
    ids=["exit 0", "exit 7", "killed"],
)
def test_exit_status_of_the_program(new_project: NewProject, program: str, code: int, error: str) -> None:
    done = new_project(program).up()

    assert done.code == code
    assert error in done.output


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"virtualenv": "nowhere"}, "nowhere does not exist; run `pulumi install` to create it"),
        pytest.param(
            {"virtualenv": "."},
            "exists and is not a virtual environment; set another folder",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            {"toolchain": "uv"},
            "runtime.options.toolchain is 'uv', but Slipway's fallback language host has only 'pip'",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            {"typechecker": "mypy"},
            "runtime.options.typechecker is 'mypy', but Slipway's fallback language host",
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["missing", "no virtual environment", "toolchain", "typechecker"],
)
def test_unusable_runtime_options(new_project: NewProject, options: dict[str, str], error: str) -> None:
    project = new_project("", **options)

    done = project.preview()

    assert done.code not in (0, None)
    assert error in done.output
    assert "Traceback" not in done.output


def test_environment_without_the_sdk(new_project: NewProject) -> None:
    project = new_project("", virtualenv="venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.folder / "venv"], check=True)

    done = project.preview()

    python = project.folder / "venv" / "bin" / "python"
    assert done.code not in (0, None)
    assert f"The Pulumi SDK cannot be loaded by {python}: No module named 'pulumi'" in done.output
    assert "Install the program's dependencies with `pulumi install`" in done.output
    assert "Traceback" not in done.output


@pytest.mark.thorough  # it has pip make an environment, which no command of Slipway asks for
def test_install_makes_the_environment_and_says_which_command_failed(new_project: NewProject) -> None:
    project = new_project("", virtualenv="venv")
    project.write("requirements.txt", "# nothing\n")

    first, second = project.pulumi("install"), project.pulumi("install")

    python = Path(project.folder, "venv", "bin", "python")
    assert first.code == second.code == 0, first.output + second.output
    assert python.is_file()
    assert "Creating virtual environment" in first.output
    assert "Creating virtual environment" not in second.output

    project.write("requirements.txt", "./nowhere\n")

    failed = project.pulumi("install")

    assert failed.code not in (0, None)
    assert "does not exist" in failed.output
    assert "-m pip install --disable-pip-version-check -r requirements.txt` exited with 1" in failed.output


def test_what_the_host_cannot_do_is_refused_with_a_sentence(new_project: NewProject) -> None:
    project = new_project("")
    schema = {"name": "tiny", "version": "1.0.0", "resources": {}}
    project.write("schema.json", json.dumps(schema))

    done = project.pulumi("package", "gen-sdk", "schema.json", "--language", "python")

    assert done.code not in (0, None)
    assert "Slipway's fallback language host cannot generate SDKs; install Pulumi's own" in done.output
