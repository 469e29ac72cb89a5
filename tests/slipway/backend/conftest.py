"""A project of a few lines whose updates the real engine records, and a hand that makes records of any shape."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slipway.backend import History
from slipway.backend.recording import RecordedStack
from slipway.backend.update_service import ServedUpdate, serve
from slipway.engine.pulumi_cli import Pulumi
from slipway.paths import toolchain_environment_file
from slipway.project import Project

PROGRAM = """\
import pulumi
config = pulumi.Config()
pulumi.export("word", config.get_secret("word"))
if config.get("fail"):
    raise pulumi.RunError("as asked")
pulumi.export("greeting", config.get("greeting"))
if other := config.get("other"):
    pulumi.export("theirs", pulumi.StackReference(other).get_output("greeting"))
"""
PROJECT = "name: scratch\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"
FIRST_STAMP = 1795461504858489662


@dataclass
class Recorder:
    """Runs `pulumi` on the stack `dev` of a tiny project, in the backend `url`; if `journaled`, updates by journal."""

    folder: Path
    url: str
    variables: Mapping[str, str] = field(default_factory=dict)
    journaled: bool = False

    def environment(self) -> dict[str, str]:
        toolchain = json.loads(toolchain_environment_file().read_text())
        path = os.pathsep.join([*toolchain.pop("PATH"), os.environ["PATH"], *toolchain.pop("PATH_BEHIND")])
        own = {"PULUMI_BACKEND_URL": self.url, "PULUMI_CONFIG_PASSPHRASE": "of this test"}
        return {**os.environ, **toolchain, "PATH": path, **own, **self.variables}

    def __call__(self, *arguments: str, wanted: int = 0, answer: str = "", **variables: str) -> str:
        if not self.journaled or arguments[0] not in ("up", "destroy"):
            return self._run(*arguments, wanted=wanted, answer=answer, **variables)
        stack = RecordedStack.of(self.history().source)
        assert stack
        update = ServedUpdate(stack, engine_pid=os.getpid())
        with serve(update, self.url) as more:
            output = self._run(*arguments, wanted=wanted, **variables, **more)
        update.leave(killed=False)
        assert stack.journals() == []
        return output

    def _run(self, *arguments: str, wanted: int, answer: str = "", **variables: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.folder,
            env=self.environment() | variables,
            input=answer,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == bool(wanted), done.stdout + done.stderr
        return done.stdout

    def up(self, message: str = "", *, greeting: str = "hello", wanted: int = 0, **variables: str) -> None:
        self("config", "set", "greeting", greeting, "--stack", "dev")
        self("up", "--stack", "dev", "--yes", "--skip-preview", "--message", message, wanted=wanted, **variables)

    def engine(self) -> Pulumi:
        return Pulumi(self.folder, self.environment())

    def history(self) -> History:
        return History.open(self.engine(), Project(self.folder), "dev")


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """With a file backend, and the stack `dev` made in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(PROJECT)
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / ".venv").symlink_to(sys.prefix)
    (tmp_path / "backend").mkdir()
    return Recorder(folder, f"file://{tmp_path}/backend")


def update(**more: Any) -> dict[str, Any]:
    """What the engine records of an update."""
    return {
        "kind": "update",
        "startTime": 1795461500,
        "endTime": 1795461504,
        "message": "Say hello",
        "environment": {"git.author": "Ada", "git.head": "0123456789abcdef", "git.dirty": "false"},
        "config": {},
        "version": 0,
        "result": "succeeded",
        "resourceChanges": {"create": 1},
        **more,
    }


@dataclass
class Records:
    """A file backend written by hand: one update after the other, a second apart."""

    backend: Path
    stamps: list[int] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.backend / ".pulumi" / "history" / "scratch" / "dev"

    def add(self, resources: list[dict[str, Any]] | None = None, **more: Any) -> int:
        """The number of the update."""
        stamp = FIRST_STAMP + len(self.stamps) * 1_000_000_000
        self.stamps.append(stamp)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file(len(self.stamps), "history").write_text(json.dumps(update(**more)))
        latest = {"manifest": {}, "resources": resources or []}
        checkpoint = {"version": 3, "checkpoint": {"stack": "organization/scratch/dev", "latest": latest}}
        self.file(len(self.stamps), "checkpoint").write_text(json.dumps(checkpoint))
        self.present(checkpoint)
        return len(self.stamps)

    def present(self, checkpoint: dict[str, Any]) -> None:
        file = self.backend / ".pulumi" / "stacks" / "scratch" / "dev.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(checkpoint))

    def file(self, number: int, part: str) -> Path:
        return self.folder / f"dev-{self.stamps[number - 1]}.{part}.json"

    def history(self) -> History:
        project = self.backend / "project"
        project.mkdir(exist_ok=True)
        (project / "Pulumi.yaml").write_text("name: scratch\nruntime: python\n")
        engine = Pulumi(project, {"PULUMI_BACKEND_URL": f"file://{self.backend}"})
        return History.open(engine, Project(project), "dev")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path / "backend")
    (made.backend / ".pulumi").mkdir(parents=True)
    (made.backend / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    return made


@pytest.fixture
def stub_engine(tmp_path: Path) -> Iterator[Callable[[str], Pulumi]]:
    """A `pulumi` of which the body, in shell, is given; its arguments are kept in the file `asked`."""

    def engine(body: str) -> Pulumi:
        program = tmp_path / "bin" / "pulumi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/asked"\n{body}\n')
        program.chmod(0o755)
        return Pulumi(tmp_path, {"PATH": f"{program.parent}:{os.defpath}", "PULUMI_BACKEND_URL": "https://cloud"})

    yield engine
    shutil.rmtree(tmp_path / "bin", ignore_errors=True)
