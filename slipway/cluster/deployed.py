"""What a stack has deployed: the objects that its state records, and the objects of any kind that its cluster has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

from slipway.cluster.client import Cluster, ClusterError, NotFoundError
from slipway.cluster.diagnosis.model import Object, name_of, objects_at, text_at
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.errors import SlipwayError
from slipway.state.checkpoint import ResourceState, Snapshot, objects, resources
from slipway.state.kubernetes_objects import HELM_PREFIX

PROVIDER_TYPE = "pulumi:providers:kubernetes"
PARALLEL_REQUESTS = 16


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


def kind_of(resource: ResourceState) -> ApiResource:
    """The kind in its inputs, else the kind of its type: `kubernetes:core/v1:Secret` is `v1`, `Secret`."""
    _, version, name = resource.type.split(":", 2)
    version = str(resource.inputs.get("apiVersion") or version.removeprefix("core/"))
    return ApiResource(version, str(resource.inputs.get("kind") or name))


def recorded_name(resource: ResourceState) -> str:
    return resource.id.rpartition("/")[2] or str(metadata(resource).get("name", ""))


def key_of(resource: ResourceState, live: LiveObjects) -> Key:
    """The object that the resource records."""
    kind = kind_of(resource)
    namespace = str(metadata(resource).get("namespace", "")) if live.is_namespaced(kind) else ""
    return Key(kind, namespace, recorded_name(resource))


@dataclass(frozen=True, order=True)
class ApiResource:
    """`apiVersion` and `kind`, as manifests have them: `apps/v1` and `Deployment`."""

    api_version: str
    name: str

    @property
    def root(self) -> str:
        return f"/{'apis' if '/' in self.api_version else 'api'}/{self.api_version}"


@dataclass(frozen=True, order=True)
class Key:
    """Identifies an object; the namespace of a cluster-wide object is empty."""

    kind: ApiResource
    namespace: str
    name: str


@dataclass(frozen=True)
class LiveObjects:
    """Every object of `kinds` in `namespaces`; objects of kinds without a namespace only if they are in `cluster_wide`.

    All methods raise ClusterError if the cluster does not answer.
    """

    cluster: Cluster = field(repr=False)
    kinds: frozenset[ApiResource]
    namespaces: frozenset[str]
    cluster_wide: frozenset[tuple[ApiResource, str]]
    """Kind and name: others' objects are not listed, and the right to list them is not needed."""

    @cached_property
    def objects(self) -> Mapping[Key, Object]:
        """Read in parallel, with a request for each kind and namespace."""
        requests: list[Callable[[], dict[Key, Object]]] = []
        for kind in sorted(self.kinds):
            served = self._served.get(kind)
            if not served:
                continue
            plural = text_at(served, "name")
            if served.get("namespaced"):
                requests += [partial(self._list, kind, plural, each) for each in sorted(self.namespaces)]
            else:
                names = sorted(name for other, name in self.cluster_wide if other == kind)
                requests += [partial(self._read, kind, plural, name) for name in names]
        found: dict[Key, Object] = {}
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            for part in pool.map(lambda request: request(), requests):
                found |= part
        return found

    @cached_property
    def _served(self) -> dict[ApiResource, Object]:
        """What the server says about each kind; a kind that it does not serve has no objects."""
        versions = sorted({kind.api_version for kind in self.kinds})
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            found = pool.map(lambda version: served(self.cluster, version), versions)
            return {kind: each for kinds in found for kind, each in kinds.items()}

    def is_namespaced(self, kind: ApiResource) -> bool:
        return bool(self._served.get(kind, {}).get("namespaced", True))

    def _list(self, kind: ApiResource, plural: str, namespace: str) -> dict[Key, Object]:
        items = objects_at(self.cluster.read(f"{kind.root}/namespaces/{namespace}/{plural}"), "items")
        # The items of a list do not have their kind.
        about = {"apiVersion": kind.api_version, "kind": kind.name}
        return {Key(kind, namespace, name_of(item)): {**about, **item} for item in items}

    def _read(self, kind: ApiResource, plural: str, name: str) -> dict[Key, Object]:
        try:
            return {Key(kind, "", name): self.cluster.read(f"{kind.root}/{plural}/{name}")}
        except NotFoundError:
            return {}


@lru_cache(maxsize=64)
def served(cluster: Cluster, api_version: str) -> Mapping[ApiResource, Object]:
    """What the server says about each kind of that version.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#discovery-api
    """
    try:
        listed = cluster.read(ApiResource(api_version, "").root)
    except NotFoundError:
        return {}
    found = (each for each in objects_at(listed, "resources") if "/" not in text_at(each, "name"))
    return {ApiResource(api_version, text_at(each, "kind")): each for each in found}


def object_path(cluster: Cluster, kind: ApiResource, namespace: str, name: str) -> str | None:
    """The path of that object at the API server; `None` if it does not serve the kind."""
    found = served(cluster, kind.api_version).get(kind)
    if found is None:
        return None
    where = f"namespaces/{namespace}/" if found.get("namespaced") else ""
    return f"{kind.root}/{where}{text_at(found, 'name')}/{name}"


def is_inside(path: str | None, namespace: str) -> bool:
    """Whether the object at that path is in the namespace: not so if it is cluster-scoped and only names it."""
    return f"/namespaces/{namespace}/" in (path or "")
