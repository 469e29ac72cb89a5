"""A program's Python: the one that `runtime.options` of Pulumi.yaml ask for, and the engine's questions about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi.runtime.proto import language_pb2

from lab.plugins.serving import PluginError

STRING = language_pb2.RuntimeOptionPrompt.STRING


@dataclass(frozen=True)
class PythonEnvironment:
    """A program's interpreter. `virtualenv` is its folder, `None` for the Python on PATH."""

    virtualenv: Path | None
    option: str  # `virtualenv` as the user wrote it

    @property
    def python(self) -> str:
        """Path of the interpreter.

        Raises:
            PluginError: there is no Python on PATH.
        """
        if self.virtualenv is not None:
            return str(self.virtualenv / "bin" / "python")
        names = [chosen] if (chosen := os.environ.get("PULUMI_PYTHON_CMD")) else ["python3", "python"]
        for name in names:
            if found := shutil.which(name):
                return found
        raise PluginError(
            f"no {' or '.join(names)} on PATH; install Python 3.11 or newer, "
            "or set runtime.options.virtualenv in Pulumi.yaml"
        )

    def exists(self) -> bool:
        """Whether the virtual environment has an interpreter; always true without one."""
        return self.virtualenv is None or Path(self.python).is_file()

    def require(self) -> None:
        """Raise PluginError, which says what to do, if the virtual environment is missing."""
        self.require_place()
        if not self.exists():
            raise PluginError(
                f"the virtualenv option of Pulumi.yaml is {self.option!r}, but {self.virtualenv} does not exist; "
                "run `pulumi install` to create it and install the program's dependencies into it"
            )

    def require_place(self) -> None:
        """Raise PluginError if something else is in its place."""
        if self.virtualenv is None or self.exists() or not self.virtualenv.exists():
            return
        if not self.virtualenv.is_dir() or any(self.virtualenv.iterdir()):
            raise PluginError(
                f"the virtualenv option of Pulumi.yaml is {self.option!r}, but {self.virtualenv} exists and is "
                "not a virtual environment; set another folder, then run `pulumi install` to create it"
            )

    def activated(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The environment variables of a program that runs in it."""
        variables = dict(inherited)
        if self.virtualenv is not None:
            variables.pop("PYTHONHOME", None)
            variables["PATH"] = os.pathsep.join(filter(None, [str(self.virtualenv / "bin"), variables.get("PATH")]))
            variables["VIRTUAL_ENV"] = str(self.virtualenv)
        return variables

    def is_ours(self) -> bool:
        """Whether the host itself runs in it, so that no other interpreter is needed to inspect it."""
        return Path(self.python).parent.resolve() == Path(sys.executable).parent.resolve()

    def output_of(self, *arguments: str) -> str:
        """The output of the interpreter for these arguments.

        Raises:
            PluginError: it failed; the message has the end of its stderr.
        """
        command = [self.python, *arguments]
        done = subprocess.run(command, env=self.activated(), capture_output=True, text=True, check=False)
        if done.returncode:
            reason = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise PluginError(f"`{' '.join(command)}` exited with {done.returncode}: {reason}")
        return done.stdout


def environment_of(info: language_pb2.ProgramInfo, *, is_plugin: bool = False) -> PythonEnvironment:
    """Read a program's options. A plugin without a virtual environment gets one named `venv`.

    Raises:
        PluginError: an option or a value that this host does not support.
    """
    options = dict(info.options)
    for name, allowed in (("toolchain", "pip"), ("typechecker", "")):
        if name in options and options[name] != allowed:
            only = f"only {allowed!r}" if allowed else "none"
            raise PluginError(
                f"runtime.options.{name} is {options[name]!r}, but Slipway's fallback language host has {only}; "
                "remove the option, or install Pulumi's own pulumi-language-python"
            )
    option = options.get("virtualenv", "venv" if is_plugin else "")
    if not isinstance(option, str):
        raise PluginError(f"runtime.options.virtualenv must be a path, not {option!r}")
    return PythonEnvironment(Path(info.root_directory, option) if option else None, option)


def about(info: language_pb2.ProgramInfo) -> language_pb2.AboutResponse:
    """The program's Python and pip; also if its virtual environment is still missing.

    Asked for before every preview and update: keep it cheap.
    """
    environment = environment_of(info)
    toolchain = "Pip" if "toolchain" in info.options else "Auto"
    version = ""
    if environment.is_ours():
        version = sys.version.split()[0]
    elif environment.exists():
        version = environment.output_of("--version").strip().removeprefix("Python ")
    # From the folder's name: pip itself would take a third of a second.
    pips = Path(environment.python).parent.parent.glob("lib/python3*/site-packages/pip-*.dist-info")
    pip_versions = [folder.name.removeprefix("pip-").removesuffix(".dist-info") for folder in pips] or ["0.0.0"]
    return language_pb2.AboutResponse(
        executable=environment.python,
        version=version,
        metadata={"toolchain": toolchain, "toolchainVersion": pip_versions[0], "typechecker": "None"},
    )


def installed_packages(
    info: language_pb2.ProgramInfo, *, transitive: bool
) -> language_pb2.GetProgramDependenciesResponse:
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
