"""The real command line, with homes that belong to one test."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import io
import json
import os
import pty
import secrets
import shutil
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from slipway.cli.main import main
from slipway.engine.events import Event, parse
from slipway.paths import lab_environment_file, toolchain_environment_file
from slipway.state.checkpoint import ResourceState
from slipway.state.kubernetes_objects import directed

ROOT = Path(__file__).parents[2]
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
            "PYTHONPATH": str(ROOT),  # this checkout, whichever the packages were installed from
            **self.variables,
        }

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway.cli.main", *arguments],
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


STARTED_TIMEOUT_SECONDS = 60
# Typer makes all commands of their functions for each call, which takes longer than most of them.
get_command = cache(typer.main.get_command)


class CommandLineHere(CommandLine):
    """Runs `slipway` in this process, with the same environment and folder: starting one takes as long as twenty tests.

    What a program that it starts prints past it is not in the result.
    """

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment() | variables
        output, errors = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            pytest.raises(SystemExit) as ended,
        ):
            for name in os.environ:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["slipway", *arguments])
            patch.setattr("typer.main.get_command", get_command)
            main()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), output.getvalue(), errors.getvalue())

    def in_a_process(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return super().__call__(*arguments, PYTHONPATH=str(ROOT), **variables)


class Scratch(CommandLine):
    """A clone of a project so small that only the engine can go wrong, with the real policy pack."""

    def use_lab(self, name: str) -> None:
        """Have the lab `name` in front of the project, which has never seen it; made here, but for its cluster."""
        home = self.home / name
        (home / "backend").mkdir(parents=True)
        (home / "passphrase").write_text(f"the passphrase of the {name} lab\n")
        self.write_lab(
            KUBECONFIG=json.loads(lab_environment_file().read_text())["KUBECONFIG"],
            PULUMI_BACKEND_URL=f"file://{home}/backend",
            PULUMI_CONFIG_PASSPHRASE_FILE=str(home / "passphrase"),
            SLIPWAY_REGISTRY=self.registry,
        )

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "-q", "-m", "a change")

    def program(self, text: str) -> None:
        """Have `text` for a program, committed; NAME in it is a name that nobody else uses in the cluster."""
        (self.folder / "__main__.py").write_text(text.replace("NAME", self.unique))
        self.commit()

    @property
    def unique(self) -> str:
        file = self.home / "unique"
        if not file.exists():
            file.write_text(f"slipway-test-{secrets.token_hex(4)}")
        return file.read_text()

    def in_background(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `slipway`; returns when the program has made the file `started`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "slipway.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + STARTED_TIMEOUT_SECONDS
        while not (self.folder / "started").exists():
            assert time.monotonic() < deadline, "the program never started"
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        return process

    def locks(self) -> list[Path]:
        """The locks of the backend of the lab `first`."""
        return list((self.home / "first" / "backend" / ".pulumi" / "locks").rglob("*.json"))

    def on_terminal(self, question: bytes, answer: Callable[[], bytes], *arguments: str) -> tuple[int, str]:
        """Run on a terminal; what `answer` returns is typed when `question` stands there."""
        terminal, its_end = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "slipway.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 -- so that Ctrl-C is a signal
        )
        os.close(its_end)
        screen = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the command is
            while chunk := os.read(terminal, 1024):
                screen += chunk
                if screen.endswith(question):
                    time.sleep(0.5)  # readline overhears a Ctrl-C that comes while it begins to listen
                    os.write(terminal, answer())
        os.close(terminal)
        return process.wait(timeout=60), screen.decode()


LAB = {
    "KUBECONFIG": "/lab/kubeconfig",
    "PULUMI_BACKEND_URL": "file:///lab/backend",
    "PULUMI_CONFIG_PASSPHRASE_FILE": "/lab/passphrase",
    "SLIPWAY_REGISTRY": "127.0.0.1:5000",
}


@pytest.fixture
def slipway(tmp_path: Path) -> CommandLineHere:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    (project / "Pulumi.dev.yaml").write_text("config: {}\n")
    (project / "Pulumi.prod.yaml").write_text("config: {}\n")
    return CommandLineHere(tmp_path, project)


PROJECT = "name: scratch\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"
PROGRAM = """\
import pulumi
secret = pulumi.Config().get_secret("token")
pulumi.export("services", {"a-service": {"url": "http://10.0.0.1", "image": "a"}})
pulumi.export("token", secret.apply(len) if secret else 0)
"""
POLICY = ROOT / "policy"


@contextlib.contextmanager
def scratch_in(home: Path) -> Iterator[Scratch]:
    """A clone with environments dev and prod, in front of a lab that has never seen it; the lab's toolchain is used."""
    folder = home / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(PROJECT)
    (folder / "__main__.py").write_text(PROGRAM)
    for environment in ("dev", "prod"):
        (folder / f"Pulumi.{environment}.yaml").write_text("config:\n  scratch:greeting: hello\n")
    (folder / ".gitignore").write_text(".venv\nstarted\n__pycache__/\n")
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(POLICY, folder / "policy")  # with its bytecode, if there is
    with socket.create_server(("127.0.0.1", 0)) as registry:  # asked whether it is there, and no more
        made = Scratch(home, folder, f"127.0.0.1:{registry.getsockname()[1]}")
        made.git("init", "-q")
        made.commit()
        made.write_toolchain(**json.loads(toolchain_environment_file().read_text()))
        made.use_lab("first")
        yield made


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    with scratch_in(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def scratch_after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Scratch]]:
    """Gives a `scratch` as one command left it. The command runs once in a module: each test gets all files back as
    they were, at the same place, as they name each other.
    """
    with contextlib.ExitStack() as stack:

        @cache
        def once(*arguments: str) -> Scratch:
            made = stack.enter_context(scratch_in(tmp_path_factory.mktemp("scratch")))
            done = made(*arguments)
            assert done.returncode == 0, done.stderr
            shutil.copytree(made.home, f"{made.home}-kept", symlinks=True)
            return made

        def restored(*arguments: str) -> Scratch:
            made = once(*arguments)
            shutil.rmtree(made.home)
            shutil.copytree(f"{made.home}-kept", made.home, symlinks=True)
            return Scratch(made.home, made.folder, made.registry)

        yield restored


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


STATES = json.loads((RECORDED / "states.json").read_text())


def _today(name: str) -> dict[str, Any]:
    """The state as a program of today declares it."""
    state = copy.deepcopy(STATES[name])
    return {**state, "resources": [dict(directed(ResourceState(raw)).raw) for raw in state["resources"]]}


@pytest.fixture
def first() -> dict[str, Any]:
    """Both services, as their first release left them."""
    return _today("first")


@pytest.fixture
def second() -> dict[str, Any]:
    """user-service with another LOG_LEVEL, another secret and 2 replicas; order-service with an autoscaler."""
    return _today("second")


@pytest.fixture
def failed() -> dict[str, Any]:
    """After `second`, user-service with too little memory and another LOG_LEVEL: its rollout failed."""
    return _today("failed")
