"""A Pulumi engine that uses this checkout's plugins, whatever else is installed, and projects for it to run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.toolchain.layout import launcher_text, plugin_folder
from lab.toolchain.parts import PROVIDERS
from slipway.paths import toolchain_environment_file

VIRTUALENV = Path(sys.prefix)
COMMAND_TIMEOUT_SECONDS = 120


@dataclass
class Result:
    """How a command ended and everything it printed."""

    code: int
    output: str


@dataclass
class Project:
    """A Pulumi project with one stack, `dev`, on a file backend of its own."""

    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            executable=shutil.which("pulumi", path=self.environment["PATH"]),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def pulumi(self, *arguments: str) -> Result:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        return Result(process.returncode, output)

    def preview(self, *arguments: str) -> Result:
        return self.pulumi("preview", *arguments)

    def up(self, *arguments: str) -> Result:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments)

    def outputs(self) -> dict[str, object]:
        shown = self.pulumi("stack", "output", "--json", "--show-secrets")
        assert shown.code == 0, shown.output
        return dict(json.loads(shown.output))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of an engine that finds our plugins as it would find bundled and installed ones."""
    folder = tmp_path_factory.mktemp("engine")
    binary, home = folder / "bin", folder / "home"
    binary.mkdir()
    _place(_pulumi(), binary / "pulumi")
    _launcher(binary / "pulumi-language-python", "lab.plugins.language_python")
    for part in PROVIDERS:
        # The packages of their SDKs require the official ones too, which no program here uses.
        module = part.fallback_module or "never.started"
        _launcher(home / "plugins" / plugin_folder(part).name / part.executables[0], module)
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "PATH": f"{binary}:/usr/local/bin:/usr/bin:/bin",
        "PULUMI_HOME": str(home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        "PULUMI_CONFIG_PASSPHRASE": "test",
    }


def _pulumi() -> Path:
    folders = [os.environ.get("PATH", "")]
    if toolchain_environment_file().is_file():
        folders = json.loads(toolchain_environment_file().read_text(encoding="utf-8"))["PATH"] + folders
    found = shutil.which("pulumi", path=os.pathsep.join(folders))
    assert found, "no pulumi in the installed toolchain or on PATH; run `make up` first"
    return Path(found).resolve()


def _place(source: Path, target: Path) -> None:
    """The engine looks for its language hosts beside its real self: a link would lead it back to the installed one."""
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _launcher(path: Path, module: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(launcher_text(module), encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture(scope="session")
def stack_made(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the engine makes for a new stack: its settings, with a salt, and its state."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / ".state").mkdir()
    project = Project(folder, engine | {"PULUMI_BACKEND_URL": f"file://{folder}/.state"})
    project.write("Pulumi.yaml", json.dumps({"name": "tiny", "runtime": "python"}))
    made = project.pulumi("stack", "init", "dev", "--no-select")
    assert made.code == 0, made.output
    return folder


@pytest.fixture
def new_project(engine: dict[str, str], stack_made: Path, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes a project from its `__main__.py`; `options` are the runtime options of its Pulumi.yaml."""
    projects: list[Project] = []

    def make(program: str, **options: str) -> Project:
        folder = tmp_path / f"project{len(projects)}"
        shutil.copytree(stack_made, folder)
        project = Project(folder, engine | {"PULUMI_BACKEND_URL": f"file://{folder}/.state", "PULUMI_STACK": "dev"})
        projects.append(project)
        runtime = {"name": "python", "options": {"virtualenv": str(VIRTUALENV)} | options}
        project.write("Pulumi.yaml", json.dumps({"name": "tiny", "runtime": runtime}))
        project.write("__main__.py", program)
        return project

    yield make
    for process in (process for project in projects for process in project.started):
        if process.poll() is None:
            process.kill()
            process.communicate()
