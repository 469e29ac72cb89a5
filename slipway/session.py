"""What a command on a stack works with: the project in front of the user, the environment variables, the engine."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from slipway import project as projects
from slipway.environment_variables import Environment, resolve
from slipway.errors import ConfigurationError
from slipway.project import Project
from slipway.pulumi_cli import Pulumi
from slipway.stacks import Stacks, backend_folder

CONNECT_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Session:
    """Everything resolved once, at the start of a command."""

    project: Project
    environment: Environment
    engine: Pulumi
    stacks: Stacks


def open_session(stack: str) -> Session:
    """Resolve all that a command on `stack` needs, or raise ConfigurationError before anything is touched."""
    project = projects.require(Path.cwd())
    project.environment_file(stack)
    environment = resolve(os.environ, project.folder, stack)
    _require_cluster(environment)
    engine = Pulumi(project.folder, environment.complete(os.environ))
    stacks = Stacks(project, engine, backend_folder(environment.lab_backend_url))
    return Session(project, environment, engine, stacks)


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
