"""A stack opened in a folder, its backend in that folder too, without a lab; and an engine that is a script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from slipway.backend.self_managed import file_backend
from slipway.backend.stacks import Stacks
from slipway.engine.pulumi_cli import Pulumi
from slipway.environment_variables import ShellEnvironment
from slipway.project import Project
from slipway.stack import Stack


def stack_in(folder: Path, name: str = "dev", variables: Mapping[str, str] | None = None) -> Stack:
    project = Project(folder)
    engine = Pulumi(folder, {"PULUMI_BACKEND_URL": folder.as_uri(), **(variables or {})})
    files = file_backend(folder.as_uri(), folder, "slipway")
    return Stack(
        name, project, ShellEnvironment({}, uses_lab=False), engine, Stacks(project, engine, files, in_lab=False)
    )


def engine_in(folder: Path, script: str) -> Pulumi:
    """An engine that runs `script` instead of Pulumi, in `folder`."""
    program = folder / "pulumi"
    program.write_text(script)
    program.chmod(0o755)
    return Pulumi(folder, {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"})
