"""The deployed state of a stack, and the cluster that it is deployed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from slipway.cluster.client import Cluster, ClusterError
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.errors import SlipwayError
from slipway.state.checkpoint import ResourceState, Snapshot, objects, resources
from slipway.state.directives import HELM_PREFIX

PROVIDER_TYPE = "pulumi:providers:kubernetes"


@dataclass(frozen=True)
class Deployed:
    """The present state of a stack, and a client for the cluster."""

    stack: str
    state: Snapshot
    cluster: Cluster

    def objects(self) -> list[ResourceState]:
        """The state's objects in Kubernetes; a Helm release is not one of them."""
        of_kubernetes = [each for each in objects(self.state).values() if each.type.startswith(KUBERNETES_PREFIX)]
        return [each for each in of_kubernetes if not each.type.startswith(HELM_PREFIX)]


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turns a ClusterError into an error that a person can act on."""
    try:
        yield
    except ClusterError as error:
        raise SlipwayError(
            "The cluster cannot be read.",
            why=str(error),
            next_step="`slipway lab status` shows the lab; for another cluster, check KUBECONFIG.",
        ) from error


def context_of(state: Snapshot) -> str | None:
    """The kubeconfig context that the state's provider uses; `None` for the current one."""
    providers = (each.inputs for each in resources(state) if each.type == PROVIDER_TYPE)
    return next((str(inputs["context"]) for inputs in providers if isinstance(inputs.get("context"), str)), None)


def metadata(resource: ResourceState) -> Mapping[str, Any]:
    found = resource.inputs.get("metadata")
    return found if isinstance(found, Mapping) else {}
