"""The real command line in a process of its own, with homes that belong to one test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slipway.engine_events import Event, parse

RECORDED = Path(__file__).parent / "recorded"
TIMEOUT_SECONDS = 120


@dataclass
class CommandLine:
    """Runs `slipway` in `folder` with nothing of the user's but PATH and HOME."""

    home: Path
    folder: Path
    registry: str = "127.0.0.1:5000"
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "SLIPWAY_HOME": str(self.home / "data"),
            "SLIPWAY_CACHE": str(self.home / "cache"),
            "COLUMNS": "100",
            **self.variables,
        }

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway.main", *arguments],
            cwd=self.folder,
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def write_toolchain(self, **content: object) -> None:
        self._write("toolchain.json", {"PATH": ["/toolchain/bin"], "PULUMI_HOME": "/toolchain/home", **content})

    def write_lab(self, **content: str) -> None:
        self._write("lab/environment.json", LAB | content)

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        file = self.home / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))


LAB = {
    "KUBECONFIG": "/lab/kubeconfig",
    "PULUMI_BACKEND_URL": "file:///lab/backend",
    "PULUMI_CONFIG_PASSPHRASE_FILE": "/lab/passphrase",
    "SLIPWAY_REGISTRY": "127.0.0.1:5000",
}


@pytest.fixture
def slipway(tmp_path: Path) -> CommandLine:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    (project / "Pulumi.dev.yaml").write_text("config: {}\n")
    (project / "Pulumi.prod.yaml").write_text("config: {}\n")
    return CommandLine(tmp_path, project)


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], list[Event]]:
    """The events of an update that once ran, as `slipway up` logged them: seconds, then the engine's JSON.

    Cut down to what is read: of resources the kind and of the stack its outputs; without what pip downloaded.
    """

    def events(name: str) -> list[Event]:
        lines = (line.partition(" ") for line in (RECORDED / f"{name}.log").read_text().splitlines())
        parsed = (parse(event, float(at_seconds)) for at_seconds, _, event in lines)
        return [event for event in parsed if event is not None]

    return events
