"""What a command on a stack works with: the project in front of the user, the environment variables, the engine."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway import project as projects
from slipway.backend.backends import backend_url, find_backend_url
from slipway.backend.file_backend import file_backend
from slipway.backend.stacks import Stacks
from slipway.engine.pulumi_cli import Pulumi
from slipway.environment_variables import Environment, owns_cluster, resolve
from slipway.errors import ConfigurationError
from slipway.paths import data_home
from slipway.project import Project

CONNECT_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Session:
    """Everything resolved once, at the start of a command."""

    project: Project
    environment: Environment
    engine: Pulumi
    stacks: Stacks

    def own_file(self, kind: str, stack: str) -> Path:
        """A file on this machine about `stack`, as it is in this clone and this backend."""
        where = f"{self.project.folder} {backend_url(self.engine, self.project)}"
        name = f"{self.project.name}-{stack}-{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"
        return data_home() / kind / name


def open_session(stack: str, *, cluster: bool = True) -> Session:
    """Resolve all that a command on `stack` needs, or raise ConfigurationError before anything is touched.

    Without `cluster` only the backend is needed: what is read from it can be read while the lab is down.
    """
    project = projects.require(Path.cwd())
    project.environment_file(stack)
    environment = resolve(os.environ, project.folder, stack)
    if cluster:
        _require_cluster(environment)
    engine = Pulumi(project.folder, environment.complete(os.environ))
    files = file_backend(find_backend_url(engine, project), project.folder, project.name)
    stacks = Stacks(project, engine, files, in_lab=environment.lab_backend_url is not None)
    return Session(project, environment, engine, stacks)


def brings_own_cluster() -> bool:
    """Whether the user has set a cluster and a registry, for any environment of the project in front of them."""
    project = projects.find(Path.cwd())
    return owns_cluster(os.environ, project.folder if project else None)


def make_lab_stacks(say: Callable[[str], None]) -> None:
    """Have the stacks of the project in front of the user, if there is one, in the lab's backend."""
    project = projects.find(Path.cwd())
    user = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}  # the lab's cluster is meant
    environment = resolve(user, project.folder if project else None)
    if project and environment.lab_backend_url:
        engine = Pulumi(project.folder, environment.complete(user))
        files = file_backend(environment.lab_backend_url, project.folder, project.name)
        Stacks(project, engine, files, in_lab=True).ensure_all_in_lab(say)


def _require_cluster(environment: Environment) -> None:
    """A lab that is down is told at once, not by a provider's time-out."""
    if environment.uses_lab:
        registry = environment.complete(os.environ)["SLIPWAY_REGISTRY"]
        host, _, port = registry.split("/")[0].partition(":")
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
            "There is no cluster to deploy to: no lab was made, and KUBECONFIG is not set.",
            next_step="Run `slipway lab up`, or set KUBECONFIG and SLIPWAY_REGISTRY to your own cluster and registry.",
        )
