"""The two compared tools, each with its commands for an operation, the services that both deploy, and the rounds in
which they take turns.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Protocol

import httpx

from bench import helm
from bench.processes import CommandError, Run, timed
from bench.results import TITLES, Operation, Size
from slipway.cli.new import new
from slipway.paths import data_home
from tests.recording.workspace import STACK, Workspace

ANSWER_WITHIN_SECONDS = 120
ASK_EVERY_SECONDS = 0.05
HELM_TIMEOUT = "30m"
SLIPWAY, HELM, HELM_QPS = "slipway", "helm", "helm qps 500"
QPS = ("--qps", "500", "--burst-limit", "1000")
# Data that the command line reads: the lab, the toolchain, and the engine's plugins.
KEPT_DATA = ("lab", "toolchain.json", "pulumi-home")
# How many updates the history has that is timed.
HISTORY_UPDATES = 1000
SECOND_NANOSECONDS = 1_000_000_000
# No instruction runs anything: what is timed is the builder, and the way to it and to the registry.
DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim

FROM scratch AS test
COPY version.txt /

FROM scratch AS runtime
COPY --from=test version.txt /
USER 10001:10001
"""
SERVICE_YAML = """\
name: {name}
replicas: 0
env: {{LOG_LEVEL: info}}
"""
ANSWER, VERSION = "service=SERVICE)", 'service=SERVICE, version="{version}")'
ANSWER_PATH = "/hello"
# Time for the cluster's controllers to finish work for the run before.
PAUSE_SECONDS = 1.0
# A round runs each of these once; an operation that is not chosen runs too if another one needs it.
ROUND = tuple(each for each in Operation if each is not Operation.HISTORY)
NEEDS = {Operation.ROLLBACK_ONE: Operation.ONE, Operation.ROLLBACK_ALL: Operation.ALL}
CHANGING = (Operation.ONE, Operation.ALL)
ROLLBACKS = tuple(NEEDS)


class Bench(Workspace):
    """A copy of the checkout with a backend; a workload's services replace the committed ones."""

    def __init__(self, folder: Path, namespace: str) -> None:
        super().__init__(folder, namespace)
        data = folder / "data"
        data.mkdir()
        for name in KEPT_DATA:
            (data / name).symlink_to(data_home() / name)
        own = {name: str(folder / name.lower()) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        # The engine writes attribute files in place; the lab's own backend has none either.
        own["PULUMI_BACKEND_URL"] = f"{self.engine.environment['PULUMI_BACKEND_URL']}?metadata=skip"
        # As under `make`, whatever the shell sets: Python must keep its compiled files.
        own["PYTHONDONTWRITEBYTECODE"] = ""
        self.engine = self.engine.with_variables(own, {"SLIPWAY_HOME": str(data)})

    def set_secrets(self) -> None:
        """Set none: no service needs any."""

    def prepare(self, size: Size, run: str) -> BenchServices:
        """Restore the committed files, in a repository of their own like a user's, with the services of `size`."""
        self.reset()
        workload = BenchServices(self.folder, size, run)
        workload.write()
        identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        for arguments in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-q", "-m", "services to be timed")):
            timed(["git", *arguments], folder=self.folder, environment=self.engine.environment)
        return workload


class BenchServices:
    """The services of a copy in `folder`, in place of those that are committed there.

    Each has a version, which is part of what is built. No two runs write the same: the builder knows none of it.
    """

    def __init__(self, folder: Path, size: Size, run: str) -> None:
        self._folder, self._size, self._run = folder / "services", size, run
        self.names = [f"bench-{number:03}" for number in range(1, size.services + 1)]
        self.versions = dict.fromkeys(self.names, 1)

    def write(self) -> None:
        """Remove the services that are there, and write those of the size, in version 1."""
        for spec in self._folder.glob("*/service.yaml"):
            shutil.rmtree(spec.parent)
        for name in self.names:
            if self._size.real:
                with redirect_stdout(StringIO()):  # what a person does next
                    new(name, self._folder.parent)
            else:
                service = self._service(name)
                service.mkdir()
                (service / "Dockerfile").write_text(DOCKERFILE)
                (service / "service.yaml").write_text(SERVICE_YAML.format(name=name))
        self._write_versions(self.names, replacing=ANSWER)

    def change(self, *names: str) -> None:
        """A new version of these services, of all where none is named."""
        for name in names or self.names:
            self._write_versions([name], replacing=VERSION.format(version=self.text(name)))

    def text(self, name: str) -> str:
        """The version that is in the service's files."""
        return f"{self._run}-{self.versions[name]}"

    def _write_versions(self, names: list[str], *, replacing: str) -> None:
        for name in names:
            if replacing != ANSWER:
                self.versions[name] += 1
            if not self._size.real:
                (self._service(name) / "version.txt").write_text(self.text(name))
                continue
            routes = self._service(name) / name.replace("-", "_") / "routes.py"
            routes.write_text(routes.read_text().replace(replacing, VERSION.format(version=self.text(name))))

    def _service(self, name: str) -> Path:
        return self._folder / name.replace("-", "_")


class Tool(Protocol):
    """One of the compared tools."""

    @property
    def name(self) -> str: ...

    @property
    def namespace(self) -> str:
        """The namespace of its objects."""

    def clear(self) -> None:
        """Remove everything it installed, and its history."""

    def prepare(self, operation: Operation) -> None:
        """Prepare what the operation needs; the files of the services are ready for it already."""

    def do(self, operation: Operation, service: str, /) -> Run:
        """Run the operation; `service` is the one that is rolled back alone. Raises CommandError."""


@dataclass(frozen=True)
class SlipwayTool:
    """`slipway` itself, in the copy."""

    bench: Bench
    name: str = SLIPWAY

    @property
    def namespace(self) -> str:
        return self.bench.namespace

    def clear(self) -> None:
        self.bench.kubectl("delete", "namespace", self.bench.namespace, "--ignore-not-found")
        self.bench.run("stack", "rm", STACK, "--yes", "--force", "--preserve-config")
        self.bench.run("stack", "init", STACK)

    def prepare(self, operation: Operation) -> None:
        if operation is Operation.HISTORY:
            folder = self.bench.folder.parent / "backend" / ".pulumi" / "history" / "slipway" / STACK
            copy_updates(folder, STACK, HISTORY_UPDATES)

    def do(self, operation: Operation, service: str, /) -> Run:
        slipway = (sys.executable, "-m", "slipway.cli.main")
        bare = ("up", "--stack", STACK, "--yes", "--skip-preview", "--non-interactive")
        commands: Mapping[Operation, Sequence[str]] = {
            Operation.BARE: (self.bench.engine.program(), *bare),
            Operation.GATE: (*slipway, "preview", "-s", STACK),
            Operation.ROLLBACK_ONE: (*slipway, "rollback", "-s", STACK, "--yes", "--service", service),
            Operation.ROLLBACK_ALL: (*slipway, "rollback", "-s", STACK, "--yes"),
            Operation.HISTORY: (*slipway, "history", "-s", STACK),
        }
        command = commands.get(operation, (*slipway, "up", "-s", STACK, "--yes"))
        return timed(command, folder=self.bench.folder, environment=self.bench.engine.environment)[0]


def copy_updates(folder: Path, stack: str, count: int) -> None:
    """Fill the history `folder` of a file backend up to `count` updates: older copies of its first, a second apart."""
    updates = sorted(folder.glob(f"{stack}-*.history.json"))
    stamp = int(updates[0].name.removeprefix(f"{stack}-").removesuffix(".history.json"))
    update = json.loads(updates[0].read_text())
    for number in range(1, count - len(updates) + 1):
        earlier = {name: update[name] - number for name in ("startTime", "endTime")}
        copy = folder / f"{stack}-{stamp - number * SECOND_NANOSECONDS}"
        Path(f"{copy}.history.json").write_text(json.dumps({**update, **earlier}))
        os.link(folder / f"{stack}-{stamp}.checkpoint.json", f"{copy}.checkpoint.json")


@dataclass(frozen=True)
class HelmTool:
    """Helm, with a chart of the objects that Slipway's stack has now."""

    bench: Bench
    executable: Path
    name: str
    more: Sequence[str] = ()

    @property
    def namespace(self) -> str:
        return f"{self.bench.namespace}-{self.name.replace(' ', '-')}"

    @property
    def _chart(self) -> Path:
        return self.bench.folder.parent / f"chart-{self.namespace}"

    def clear(self) -> None:
        self.bench.kubectl("delete", "namespace", self.namespace, "--ignore-not-found")

    def prepare(self, operation: Operation) -> None:
        if operation is Operation.HISTORY:
            helm.copy_release(self.bench.kubectl, self.namespace, HISTORY_UPDATES)
        else:
            state = json.loads(self.bench.run("stack", "export", "--stack", STACK).output)["deployment"]
            helm.write_chart(self._chart, helm.objects_of(state, self.namespace))

    def do(self, operation: Operation, _service: str, /) -> Run:
        release, wait = (helm.NAME, str(self._chart)), ("--wait", "--timeout", HELM_TIMEOUT)
        rollback = ("rollback", helm.NAME, *wait)
        commands: Mapping[Operation, Sequence[str]] = {
            Operation.INSTALL: ("install", *release, "--create-namespace", *wait),
            Operation.GATE: ("upgrade", *release, "--dry-run=server"),
            Operation.ROLLBACK_ONE: rollback,
            Operation.ROLLBACK_ALL: rollback,
            Operation.HISTORY: ("history", helm.NAME),
        }
        command = commands.get(operation, ("upgrade", *release, *wait))
        return timed(
            [str(self.executable), *command, "--namespace", self.namespace, *self.more],
            folder=self.bench.folder,
            environment=self.bench.engine.environment,
        )[0]


@dataclass(frozen=True)
class UntilAnswered:
    """A tool whose operations end when every service answers with the version that it should have."""

    tool: Tool
    kubectl: Callable[..., str]
    versions: Callable[[], Mapping[str, str]]

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def namespace(self) -> str:
        return self.tool.namespace

    def clear(self) -> None:
        self.tool.clear()

    def prepare(self, operation: Operation) -> None:
        self.tool.prepare(operation)

    def do(self, operation: Operation, service: str, /) -> Run:
        run = self.tool.do(operation, service)
        listed = json.loads(self.kubectl("get", "services", "--namespace", self.namespace, "--output", "json"))
        addresses = {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in listed["items"]}
        with httpx.Client(trust_env=False, timeout=5) as client:
            began = time.monotonic()
            for name, version in self.versions().items():
                await_answer(client, f"http://{addresses[name]}{ANSWER_PATH}", version)
            waited = time.monotonic() - began
        return replace(run, seconds=round(run.seconds + waited, 2))


def await_answer(client: httpx.Client, url: str, version: str) -> None:
    """Return once `url` answers with `version`. Raises CommandError if it does not in time."""
    given_up, answer = time.monotonic() + ANSWER_WITHIN_SECONDS, ""
    while time.monotonic() < given_up:
        try:
            response = client.get(url)
            answer = f"{response.status_code} {response.text}"
            if response.is_success and response.json().get("version") == version:
                return
        except (httpx.HTTPError, ValueError) as error:
            answer = str(error)
        time.sleep(ASK_EVERY_SECONDS)
    raise CommandError(f"{url} did not answer with version {version} in {ANSWER_WITHIN_SECONDS} s, but: {answer[:300]}")


Timed = Callable[[Operation, str, Run], None]
"""Called for each run that counts, with its operation and tool."""


@dataclass
class Rounds:
    """The tools begin with nothing installed; `live` has the version that each service should answer with."""

    workload: BenchServices
    tools: Sequence[Tool]
    operations: Sequence[Operation]
    on_run: Timed
    say: Callable[[str], None]
    live: dict[str, str] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict)
    _settled: bool = False

    def run(self, pairs: int, *, history: bool) -> None:
        """Run `pairs` rounds, then `pairs` times the history if that is chosen."""
        for number in range(1, pairs + 1):
            self.say(f"  round {number} of {pairs}")
            for operation in steps(self.operations, first=number == 1):
                self._step(operation)
        if history and Operation.HISTORY in self.operations:
            for _ in range(pairs):
                self._step(Operation.HISTORY)

    def _step(self, operation: Operation) -> None:
        if operation is Operation.INSTALL:
            for tool in self.tools:
                tool.clear()
            if self.live:
                self.workload.change()
        elif operation in (Operation.UNCHANGED, Operation.BARE, Operation.GATE, Operation.ONE) and not self._settled:
            # After a rollback the files on disk are newer than the deployment.
            self._each(Operation.ALL, counts=False)
        if operation in CHANGING:
            self.workload.change(*([self._service] if operation is Operation.ONE else []))
        self._each(operation, counts=operation in self.operations)

    @property
    def _service(self) -> str:
        """The service that is changed and rolled back alone."""
        return self.workload.names[0]

    def _each(self, operation: Operation, *, counts: bool) -> None:
        """Run all tools, one after the other."""
        self._settled = operation not in ROLLBACKS
        if operation in ROLLBACKS:
            self.live, self._before = self._before, self.live
        elif operation in (*CHANGING, Operation.INSTALL):
            self._before, self.live = self.live, {name: self.workload.text(name) for name in self.workload.names}
        for tool in self.tools:
            tool.prepare(operation)
            time.sleep(PAUSE_SECONDS)
            run = tool.do(operation, self._service)
            if counts:
                self.on_run(operation, tool.name, run)
            self.say(f"    {TITLES[operation]}: {tool.name} {run.seconds:.1f} s{'' if counts else ' (does not count)'}")


def steps(operations: Sequence[Operation], *, first: bool) -> Iterator[Operation]:
    """The operations of a round, in order: the chosen ones, others that they need, and in the first an installation."""
    chosen = {*operations, *(NEEDS[each] for each in operations if each in NEEDS)}
    if first:
        chosen.add(Operation.INSTALL)
    return (each for each in ROUND if each in chosen)
