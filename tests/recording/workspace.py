"""A copy of the checkout with a backend, a namespace and images of its own, in which real updates run: recordings, and
the benchmark.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx

from slipway.engine.errors import messages
from slipway.engine.events import is_debug, parse
from slipway.engine.pulumi_cli import Completed, Pulumi
from slipway.environment_variables import resolve
from tests.example import leave_out_postgresql

CHECKOUT = Path(__file__).resolve().parents[2]
STACK = "dev"  # its rules are the least strict
PASSPHRASE = "recording"
KUBECTL_TIMEOUT_SECONDS = 600
MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
MAX_IMAGES = 1000  # more the registry does not list at once
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Lines = list[tuple[float, str]]
"""What the engine printed, line by line, each with the seconds since the start of the run."""


AnyWorkspace = TypeVar("AnyWorkspace", bound="Workspace")


class RecordingError(Exception):
    """What was to be recorded did not happen as it should; the text says what did."""


class Workspace:
    """The copy, of what is committed, and the engine in it.

    `namespace` is also the name of its images' folder, and other namespaces of it are named `namespace-…`.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder, self.namespace = folder / "slipway", namespace
        environment = resolve(os.environ, None).complete(os.environ)
        self.lab_registry = environment["SLIPWAY_REGISTRY"].partition("/")[0]
        self.base_image = environment["SLIPWAY_BASE_IMAGE"]
        self.registry = f"{self.lab_registry}/{namespace}"
        (folder / "backend").mkdir()
        self.engine = Pulumi(
            self.folder,
            {
                **environment,
                "SLIPWAY_REGISTRY": self.registry,
                "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
                "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            },
        )
        self.commit = git("rev-parse", "HEAD").decode().strip()
        self.initial_settings = ""
        self.reset()

    @property
    def settings(self) -> Path:
        return self.folder / f"Pulumi.{STACK}.yaml"

    def reset(self) -> None:
        """Everything as it was committed at the start, and the stack's settings as they were set then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        subprocess.run(["tar", "-x"], cwd=self.folder, input=git("archive", self.commit), check=True)
        leave_out_postgresql(self.folder)
        (self.folder / ".venv").symlink_to(CHECKOUT / ".venv")
        if self.initial_settings:
            self.settings.write_text(self.initial_settings)

    def set_up(self) -> None:
        """Remove what a killed run has left in the cluster, and make the stack."""
        self.remove()
        self.settings.write_text("config: {}\n")  # dev's committed settings are of services that are left out
        self.run("stack", "init", STACK)
        self.config("slipway:namespace", self.namespace)
        self.set_secrets()
        self.initial_settings = self.settings.read_text()

    def set_secrets(self) -> None:
        """Set the secrets of the services that are committed."""
        for service in ("user", "order"):
            self.config("--secret", f"{service}-service:DATABASE_URL", f"sqlite:////data/{service}s.db")

    def remove(self) -> None:
        """Delete the namespaces, which have all that is made in the cluster, and the images."""
        listed = self.kubectl("get", "namespaces", "--output", "name").split()
        prefix = f"namespace/{self.namespace}"
        if ours := [name for name in listed if name == prefix or name.startswith(f"{prefix}-")]:
            self.kubectl("delete", *ours, "--ignore-not-found")
        with httpx.Client(base_url=f"http://{self.lab_registry}/v2", trust_env=False, timeout=60) as registry:
            first_of_ours = {"n": str(MAX_IMAGES), "last": f"{self.namespace}/"}
            listed_images = registry.get("/_catalog", params=first_of_ours).raise_for_status().json()["repositories"]
            for name in (each for each in listed_images if each.startswith(f"{self.namespace}/")):
                tags = registry.get(f"/{name}/tags/list")
                for tag in (tags.json()["tags"] or ()) if tags.is_success else ():
                    found = registry.head(f"/{name}/manifests/{tag}", headers={"Accept": MANIFESTS})
                    if found.is_success:
                        registry.delete(f"/{name}/manifests/{found.headers['Docker-Content-Digest']}")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        if old not in text:
            raise RecordingError(f"{file} does not have {old!r}; adapt the recorder")
        path.write_text(text.replace(old, new))

    def run(self, *arguments: str) -> Completed:
        done = self.engine.run(*arguments)
        if done.exit_code:
            raise RecordingError(f"pulumi {' '.join(arguments)}: {done.output[-3000:]}{done.errors}")
        return done

    def config(self, *arguments: str) -> None:
        self.run("config", "set", "--stack", STACK, *arguments)

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What `kubectl` prints; `text` is its standard input."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env=dict(self.engine.environment),
            input=text,
            capture_output=True,
            text=True,
            timeout=KUBECTL_TIMEOUT_SECONDS,
            check=False,
            process_group=0,  # a terminal's Ctrl-C is not to end the removal
        )
        if done.returncode:
            raise RecordingError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def stream(self, *arguments: str) -> tuple[Completed, Lines]:
        """Run the engine, and return what it printed, masked, without the SDK's debug messages."""
        lines: Lines = []

        def on_line(line: str, at_seconds: float) -> None:
            if not is_debug(line):
                lines.append((at_seconds, self.masked(line.rstrip())))

        ended = self.engine.stream(arguments, on_line, print)
        if ended.interrupted:
            raise KeyboardInterrupt
        return ended, lines

    def up(self, *, fails_with: str = "") -> Lines:
        """The events of an update, which is to succeed, or to fail with an error of those words."""
        ended, lines = self.stream("up", "--stack", STACK, "--yes", "--skip-preview", "--json")
        text = "\n".join(messages([event for at_seconds, line in lines if (event := parse(line, at_seconds))]))
        if (ended.exit_code == 0) is bool(fails_with) or fails_with not in text:
            raise RecordingError(f"the update ended with exit code {ended.exit_code}:\n{text}\n{ended.errors}")
        return lines

    def masked(self, text: str) -> str:
        """The text without the folders of this machine."""
        for folder in (str(self.folder), str(self.folder.parent), str(CHECKOUT), str(Path.home())):
            text = re.sub(rf"{re.escape(folder)}(?![\w-])", "/somewhere", text)
        return text


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=True).stdout


@contextmanager
def workspace(namespace: str, kind: type[AnyWorkspace]) -> Iterator[AnyWorkspace]:
    """A workspace with a stack, all of which is removed in the end, also after Ctrl-C or a signal to end.

    One at a time of a namespace: another run is waited for.
    """
    with (
        (Path(tempfile.gettempdir()) / f"{namespace}.lock").open("w") as lock,
        tempfile.TemporaryDirectory(prefix=f"{namespace}-") as folder,
        interruptible() as uninterrupted,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = kind(Path(folder), namespace)
        try:
            made.set_up()
            yield made
        finally:
            uninterrupted()
            made.remove()


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Every signal that asks to end is KeyboardInterrupt, until what is yielded is called: then it is ignored."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def ignore() -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def written(lines: Sequence[tuple[float, str]]) -> str:
    """Lines as recordings have them, each after the seconds since the start."""
    return "".join(f"{at_seconds:.3f} {line}\n" for at_seconds, line in lines)
