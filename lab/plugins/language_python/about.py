"""The host's answers about a program's environment, asked for before every preview and update: kept cheap."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pulumi.runtime.proto import language_pb2

from lab.plugins.language_python.environment import PythonEnvironment, environment_of

STRING = language_pb2.RuntimeOptionPrompt.STRING


def about(info: language_pb2.ProgramInfo) -> language_pb2.AboutResponse:
    """The program's Python and pip; also if its virtual environment is still missing."""
    environment = environment_of(info)
    toolchain = "Pip" if "toolchain" in info.options else "Auto"
    return language_pb2.AboutResponse(
        executable=environment.python,
        version=_python_version(environment),
        metadata={"toolchain": toolchain, "toolchainVersion": _pip_version(environment), "typechecker": "None"},
    )


def _python_version(environment: PythonEnvironment) -> str:
    if environment.is_ours():
        return sys.version.split()[0]
    if not environment.exists():
        return ""
    return environment.output_of("--version").strip().removeprefix("Python ")


def _pip_version(environment: PythonEnvironment) -> str:
    """The version from a folder's name; pip itself would take a third of a second."""
    folders = Path(environment.python).parent.parent.glob("lib/python3*/site-packages/pip-*.dist-info")
    versions = [folder.name.removeprefix("pip-").removesuffix(".dist-info") for folder in folders]
    return versions[0] if versions else "0.0.0"


def dependencies(info: language_pb2.ProgramInfo, *, transitive: bool) -> language_pb2.GetProgramDependenciesResponse:
    """The environment's packages; without `transitive`, only packages that no other package requires."""
    environment = environment_of(info)
    environment.require()
    options = ["--format", "json", "--disable-pip-version-check"] + ([] if transitive else ["--not-required"])
    listed: list[dict[str, str]] = json.loads(environment.output_of("-m", "pip", "list", *options))
    return language_pb2.GetProgramDependenciesResponse(
        dependencies=[language_pb2.DependencyInfo(name=one["name"], version=one["version"]) for one in listed]
    )


def prompts(options: dict[str, Any]) -> language_pb2.RuntimeOptionsResponse:
    """The questions to the user for a new project: only the virtual environment's name."""
    if "virtualenv" in options:
        return language_pb2.RuntimeOptionsResponse()
    default = language_pb2.RuntimeOptionPrompt.RuntimeOptionValue(promptType=STRING, stringValue="venv")
    prompt = language_pb2.RuntimeOptionPrompt(
        key="virtualenv", description="The virtualenv to use", promptType=STRING, choices=[default], default=default
    )
    return language_pb2.RuntimeOptionsResponse(prompts=[prompt])
