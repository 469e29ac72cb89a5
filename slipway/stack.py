"""One environment, opened once per command: its project, engine, history, state, cluster and files on this machine."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slipway import project as projects
from slipway.backend import History
from slipway.backend.history import backend_url, decrypted, find_backend_url
from slipway.backend.promotion import promotions
from slipway.backend.recording import RecordedStack
from slipway.backend.self_managed import file_backend
from slipway.backend.stacks import Stacks
from slipway.cluster.client import Cluster, ClusterError
from slipway.cluster.deployed import Deployed, cluster_errors, context_of
from slipway.engine.events import require_log_folder
from slipway.engine.pulumi_cli import Completed, LineHandler, Overdue, Pulumi
from slipway.environment_variables import ShellEnvironment, owns_cluster, resolve
from slipway.errors import ConfigurationError, SlipwayError
from slipway.paths import data_home
from slipway.project import Project
from slipway.state.checkpoint import Snapshot, objects

CONNECT_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Stack:
    """Everything that a command on a stack needs; `name` is the name of the environment."""

    name: str
    project: Project
    environment: ShellEnvironment
    engine: Pulumi
    stacks: Stacks

    def __str__(self) -> str:
        return self.name

    def backend_url(self) -> str:
        return backend_url(self.engine, self.project)

    def history(self) -> History:
        """The history, read again at each call; raises ConfigurationError if no backend can be read."""
        return History.open(self.engine, self.project, self.name)

    def present(self) -> Snapshot | None:
        """The stack's present state; `None` if the stack does not exist."""
        return self.history().present()

    def decrypted(self, state: Snapshot) -> Snapshot:
        """`state` with its secrets decrypted; raises ConfigurationError if no passphrase or key decrypts them."""
        return decrypted(self.engine, self.project.name, self.name, state)

    def config(self) -> dict[str, str]:
        """The plain values of `Pulumi.<stack>.yaml`, as texts."""
        return self.project.config(self.name)

    def unmanaged_namespace(self) -> str:
        """The namespace that the stack uses but does not manage; empty if it manages its own."""
        return self.project.unmanaged_namespace(self.name)

    def has_new_digests(self) -> bool:
        """Whether a promoted image in the settings is not the same in the state: the program looks it up first."""
        images = self.project.promoted_images(self.name)
        running = promotions(self.present() or {}) if images else {}
        return {name: each.model_dump(by_alias=True) for name, each in running.items() if name in images} != images

    def with_variables(self, variables: Mapping[str, str]) -> Stack:
        """The same stack, whose engine has more environment variables."""
        engine = self.engine.with_variables(variables)
        return replace(self, engine=engine, stacks=replace(self.stacks, engine=engine))

    def stream(
        self,
        arguments: Sequence[str],
        on_line: LineHandler,
        on_interrupt: Callable[[str], None],
        overdue: Overdue | None = None,
    ) -> Completed:
        """Run an update of the stack, see `Pulumi.stream`; in a self-managed backend, by the engine's journal."""
        from slipway.backend.update_service import ServedUpdate, serve  # noqa: PLC0415 -- seldom needed

        is_recorded = False

        def on_each_line(line: str, at_seconds: float) -> None:
            nonlocal is_recorded
            is_recorded = is_recorded or self.stacks.record_lock_holder(self.name)
            on_line(line, at_seconds)

        recorded = RecordedStack.of(self.history().source)
        variables = self.engine.environment
        if recorded is None or not recorded.keeps_journal(self.project.stack_file(self.name), variables):
            return self.engine.stream(arguments, on_each_line, on_interrupt, overdue)
        update, ended = ServedUpdate(recorded), None
        if token := variables.get("PULUMI_ACCESS_TOKEN"):  # the engine prefers it, and the program may need it
            update.token = token
        try:
            with serve(update, self.backend_url()) as served:
                engine = self.engine.with_variables(served)
                ended = engine.stream(arguments, on_each_line, on_interrupt, overdue, update.engine_started)
        finally:
            update.leave(killed=ended is None or ended.exit_code < 0)
        if update.engine_is_old and not ended.interrupted:
            return self.engine.stream(arguments, on_each_line, on_interrupt, overdue)
        return ended

    def own_file(self, kind: str) -> Path:
        """The path of a file on this machine for this stack, this clone and this backend."""
        where = f"{self.project.folder} {self.backend_url()}".encode(errors="surrogateescape")
        name = f"{self.project.name}-{self.name}-{hashlib.sha256(where).hexdigest()[:16]}.json"
        return data_home() / kind / name

    def deployed(self) -> Deployed:
        """The state and its cluster; raises SlipwayError if the state is empty or the cluster cannot be reached."""
        state = self.present()
        if state is None or not objects(state):
            raise SlipwayError(
                f"Nothing is deployed to {self}: its state is empty.", next_step=f"`slipway up -s {self}` deploys it."
            )
        return self.beside_cluster(state)

    def beside_cluster(self, state: Snapshot) -> Deployed:
        """`state` with the cluster that its provider names; raises SlipwayError if that cannot be reached."""
        with cluster_errors():
            cluster = Cluster.connect(context_of(state), self.engine.environment.get("KUBECONFIG"))
        return Deployed(self.name, state, cluster)

    def cluster(self) -> Cluster:
        """The cluster that the stack's settings name; ClusterError if the kubeconfig does not have it."""
        return Cluster.connect(self.config().get("slipway:context"), self.engine.environment.get("KUBECONFIG"))

    def require_cluster(self) -> None:
        """Raise SlipwayError if the cluster that the stack's settings name does not answer.

        The program reports errors in the settings and the kubeconfig themselves, together with all other errors.
        """
        try:
            cluster = self.cluster()
        except ClusterError:
            return
        with cluster_errors():
            cluster.now()


def open_stack(name: str, *, cluster: bool = True) -> Stack:
    """Resolve everything that a command on a stack needs; raises ConfigurationError before anything is changed.

    Without `cluster` only the backend is needed: it can be read while the lab is down.
    """
    project = projects.require(Path.cwd())
    project.environment_file(name)
    environment = resolve(os.environ, project.folder, name)
    if cluster:
        require_log_folder()
        _require_cluster(environment)
    engine = Pulumi(project.folder, environment.complete(os.environ))
    files = file_backend(find_backend_url(engine, project), project.folder, project.name)
    stacks = Stacks(project, engine, files, in_lab=environment.lab_backend_url is not None)
    return Stack(name, project, environment, engine, stacks)


def brings_own_cluster() -> bool:
    """Whether the user has set a cluster and a registry, for any environment of the current project."""
    project = projects.find(Path.cwd())
    return owns_cluster(os.environ, project.folder if project else None)


def make_lab_stacks(say: Callable[[str], None]) -> None:
    """Create the stacks of the current project, if there is one, in the lab's backend."""
    project = projects.find(Path.cwd())
    user = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}  # the lab's cluster is meant
    environment = resolve(user, project.folder if project else None)
    if project and environment.lab_backend_url:
        engine = Pulumi(project.folder, environment.complete(user))
        files = file_backend(environment.lab_backend_url, project.folder, project.name)
        Stacks(project, engine, files, in_lab=True).ensure_all_in_lab(say)


def _require_cluster(environment: ShellEnvironment) -> None:
    """Raise ConfigurationError at once if the lab is down or there is no cluster, before a provider's time-out."""
    if environment.uses_lab:
        registry = environment.complete(os.environ)["SLIPWAY_REGISTRY"]
        host, _, port = registry.split("/")[0].partition(":")
        if "://" in registry or (port and not port.isdecimal()):
            return  # the program says what is wrong with the address
        try:
            socket.create_connection((host, int(port or "443")), CONNECT_TIMEOUT_SECONDS).close()
        except OSError as error:
            raise ConfigurationError(
                f"The registry {registry} does not answer: {error}.",
                why="The lab is not running.",
                next_step="Run `slipway lab up`; `slipway lab status` shows what is up.",
            ) from error
    elif "KUBECONFIG" not in os.environ:
        raise ConfigurationError(
            "There is no cluster to deploy to: there is no lab, and KUBECONFIG is not set.",
            next_step="Run `slipway lab up`, or set KUBECONFIG and SLIPWAY_REGISTRY to your own cluster and registry.",
        )
