"""The toolchain this machine really has: every part tells its version, and the engine takes our plugins as they are."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from lab.toolchain import installed, survey
from lab.toolchain.parts import KUBERNETES, PROVIDERS
from slipway.paths import toolchain_environment_file

pytestmark = pytest.mark.lab


def test_every_part_is_whole_and_of_the_pinned_version() -> None:
    assert [status for status in survey() if not status.ok] == []


def test_the_engine_sees_exactly_the_pinned_plugins() -> None:
    variables = json.loads(toolchain_environment_file().read_text())
    environment = os.environ | {name: value for name, value in variables.items() if isinstance(value, str)}
    answer = subprocess.run(
        [installed().pulumi, "plugin", "ls", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    seen = {(plugin["name"], plugin["version"]) for plugin in json.loads(answer.stdout)}
    wanted = {(part.executables[0].removeprefix("pulumi-resource-"), part.version) for part in PROVIDERS}
    assert wanted <= seen
    assert answer.stderr == ""


@pytest.mark.parametrize("component", KUBERNETES.executables)
def test_one_executable_runs_every_component(component: str) -> None:
    answer = subprocess.run([installed().kube, component, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout == f"Kubernetes v{KUBERNETES.version}\n"
