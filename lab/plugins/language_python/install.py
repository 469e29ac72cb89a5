"""`pulumi install`: makes a program's virtual environment and installs its declared dependencies."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pulumi.runtime.proto import language_pb2

from lab.plugins.language_python.environment import PythonEnvironment
from lab.plugins.serving import PluginError


def dependencies(environment: PythonEnvironment, directory: str) -> Iterator[language_pb2.InstallDependenciesResponse]:
    """Install, and yield pip's output as it comes.

    Raises:
        PluginError: a command failed.
    """
    environment.require_place()
    if not environment.exists():
        yield _line(f"Creating virtual environment {environment.virtualenv}")
        system = PythonEnvironment(virtualenv=None, option="")
        yield from _run(system, ["-m", "venv", str(environment.virtualenv)], directory)
    packages = _declared_packages(Path(directory))
    if not packages:
        yield _line(f"Nothing to install: neither requirements.txt nor pyproject.toml in {directory}")
        return
    yield _line("Installing dependencies")
    yield from _run(environment, ["-m", "pip", "install", "--disable-pip-version-check", *packages], directory)
    yield _line("Finished installing dependencies")


def _declared_packages(directory: Path) -> list[str]:
    """pip's arguments for the program in `directory`: its requirements.txt, else its pyproject.toml."""
    if (directory / "requirements.txt").is_file():
        return ["-r", "requirements.txt"]
    pyproject = directory / "pyproject.toml"
    if not pyproject.is_file():
        return []
    try:
        content = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise PluginError(f"{pyproject} is not valid TOML: {error}") from error
    if "build-system" in content:
        return ["--editable", "."]
    return list(content.get("project", {}).get("dependencies", []))


def _run(
    environment: PythonEnvironment, arguments: list[str], directory: str
) -> Iterator[language_pb2.InstallDependenciesResponse]:
    command = [environment.python, *arguments]
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment.activated(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker
        for line in process.stdout:
            yield language_pb2.InstallDependenciesResponse(stdout=line)
    if process.returncode:
        raise PluginError(f"`{' '.join(command)}` exited with {process.returncode}; its output is above")


def _line(text: str) -> language_pb2.InstallDependenciesResponse:
    return language_pb2.InstallDependenciesResponse(stdout=f"{text}\n".encode())
