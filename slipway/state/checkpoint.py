"""Reads a recorded state: its resources, the service of each, their names in another state, a hash of their inputs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.engine.events import STACK_TYPE, Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.values import Secret, mapped

PROVIDER_PREFIX = "pulumi:providers:"
WORKLOAD_COMPONENTS = ("slipway:index:Microservice", "slipway:index:Worker", "slipway:index:CronJob")
"""The component of each kind of service."""
SERVICE_IMAGE_TYPE = "slipway:index:ServiceImage"
ENVIRONMENT_TYPE = "slipway:index:Environment"
SERVICE_COMPONENTS = (*WORKLOAD_COMPONENTS, SERVICE_IMAGE_TYPE)
TEST_SUFFIX = "-test"
MIGRATION_LABEL = "slipway.dev/migration"
"""A label on the Job of a migration: its service."""
HIDDEN = "(secret)"
OWNER = "slipway:service"
"""A key added to the engine's record of a resource: the service of a component above its parent."""

Snapshot = Mapping[str, Any]
"""The `latest` of a checkpoint: `manifest`, `secrets_providers`, `resources`, `pending_operations`."""

# An object that is named by its content (`components.workload`): new content makes a new object.
HASH = re.compile(r"-[0-9a-f]{8}$")
TYPES = (
    "kubernetes:core/v1:ConfigMap",
    "kubernetes:core/v1:Secret",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy",
)
CONTENT = ("data", "stringData", "binaryData", "spec")


@dataclass(frozen=True)
class ResourceState:
    """A resource of a recorded state; `raw` is everything that the engine wrote about it."""

    raw: Mapping[str, Any]

    @property
    def urn(self) -> str:
        return str(self.raw["urn"])

    @property
    def type(self) -> str:
        return str(self.raw["type"])

    @property
    def name(self) -> str:
        return Urn(self.urn).name

    @property
    def id(self) -> str:
        """The provider's ID of the object: `namespace/name` in Kubernetes."""
        return str(self.raw.get("id", ""))

    @property
    def custom(self) -> bool:
        return bool(self.raw.get("custom"))

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self.raw.get("inputs") or {}

    @property
    def outputs(self) -> Mapping[str, Any]:
        return self.raw.get("outputs") or {}

    @property
    def parent(self) -> str:
        return str(self.raw.get("parent", ""))

    @property
    def provider(self) -> str:
        """URN of the provider, without its id."""
        return str(self.raw.get("provider", "")).rpartition("::")[0]

    @property
    def dependencies(self) -> tuple[str, ...]:
        return tuple(self.raw.get("dependencies") or ())

    @property
    def needs(self) -> tuple[str, ...]:
        """The URNs of all resources that must exist before it."""
        bound = (str(self.raw.get("deletedWith", "")), *(self.raw.get("replaceWith") or ()))
        return tuple(filter(None, (self.parent, self.provider, *self.dependencies, *bound)))

    @property
    def service(self) -> str:
        """The service of its component, whatever its own name is; a URN has only the types of parents, not their names.

        Below a team's own component, such as a Chart, it is known only for the results of `resources`.
        """
        if owner := self.raw.get(OWNER):
            return str(owner)
        if self.parent and service_of(self.parent):
            return service_of(self.parent) if Urn(self.parent).type in SERVICE_COMPONENTS else ""
        return service_of(self.urn)

    @property
    def is_object(self) -> bool:
        """Whether this is an object outside of Pulumi that a rollback restores: no component, provider or image."""
        return self.custom and self.type != IMAGE_TYPE and not self.type.startswith(PROVIDER_PREFIX)


def renamed(snapshot: Snapshot, project: str, stack: str) -> Snapshot:
    """The same state with these names in its URNs: the stack may have been renamed since it was recorded."""
    urns = (str(raw.get("urn", "")).split("::") for raw in snapshot.get("resources") or ())
    then = next(("::".join(parts[:2]) for parts in urns if len(parts) > 2), "")
    now = f"urn:pulumi:{stack}::{project}"
    if then in ("", now):
        return snapshot
    return dict(json.loads(json.dumps(snapshot).replace(f'"{then}::', f'"{now}::')))


def resources(snapshot: Snapshot) -> list[ResourceState]:
    """Its resources in the engine's order, dependencies first; without those that only wait for deletion."""
    return with_owners(raw for raw in snapshot.get("resources") or () if not raw.get("delete"))


def with_owners(raws: Iterable[Mapping[str, Any]]) -> list[ResourceState]:
    """The resources, parents first; those below a team's own component know the service of that component."""
    owners: dict[str, str] = {}
    found = []
    for raw in raws:
        each = ResourceState(raw)
        owner = owners.get(each.parent, "")
        if not each.custom and each.parent and each.type not in SERVICE_COMPONENTS and (owner := owner or each.service):
            owners[each.urn] = owner
        found.append(ResourceState({**raw, OWNER: owner}) if owner else each)
    return found


def objects(snapshot: Snapshot) -> dict[str, ResourceState]:
    """The objects of the state outside of Pulumi, by URN."""
    return {each.urn: each for each in resources(snapshot) if each.is_object}


def is_settled(snapshot: Snapshot) -> bool:
    """Whether the cluster has exactly what the inputs declare.

    A killed update leaves operations with an unknown result. A failed update leaves replaced objects to be deleted. It
    also records the old inputs, beside the errors, of an object that already has the new ones:
    https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/engine/update.go (OnResourceStepPost).
    """
    known = snapshot.get("resources") or ()
    unfinished = (each for each in known if each.get("initErrors") or each.get("delete"))
    return not snapshot.get("pending_operations") and next(unfinished, None) is None


def outputs(snapshot: Snapshot) -> Mapping[str, Any]:
    """The stack's outputs; a failed update leaves those of the update before it, or none."""
    return next((each.outputs for each in resources(snapshot) if each.type == STACK_TYPE), {})


def service_of(urn: str) -> str:
    """The service of a resource that has the service's own name; empty if it belongs to none."""
    resource, types = Urn(stem(urn)), urn.split("::")[2].split("$")
    if not set(SERVICE_COMPONENTS) & set(types):
        return ""
    return resource.name.removesuffix(TEST_SUFFIX) if resource.type == IMAGE_TYPE else resource.name


def fingerprint(snapshot: Snapshot, services: Collection[str] = ()) -> str:
    """A hash over the inputs of all objects, or only of `services` if there are any. Secret values are left out."""
    found = []
    for urn, each in objects(snapshot).items():
        if services and each.service not in services:
            continue
        inputs = each.inputs
        metadata = inputs.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
        if isinstance(labels, Mapping) and MIGRATION_LABEL in labels:
            # With `suspend` a rollback keeps a migration from running again.
            inputs = {**inputs, "spec": {key: value for key, value in inputs["spec"].items() if key != "suspend"}}
        found.append((urn, masked_secrets(inputs)))
    return hashlib.sha256(json.dumps(sorted(found), sort_keys=True).encode()).hexdigest()


def masked_secrets(value: Any) -> Any:
    """The value with a mark for each secret, encrypted or not: every update encrypts the same secret again."""
    return mapped(value, lambda each, _: HIDDEN if isinstance(each, Secret) else each)


def stem(urn: str) -> str:
    """The URN without the hash of the content; unchanged for any other resource."""
    return HASH.sub("", urn) if urn.split("::", 3)[2].endswith(TYPES) else urn


def is_named_by_content(urn: str) -> bool:
    return stem(urn) != urn


def successors(before: Collection[str], after: Collection[str]) -> dict[str, str]:
    """The URN of each object of `before` that is gone, with the URN of the object in `after` that replaced it.

    An object replaces at most one other: failed updates may leave several.
    """
    come = {stem(urn): urn for urn in after if urn not in before and stem(urn) != urn}
    gone = {stem(urn): urn for urn in before if urn not in after}
    return {urn: come[name] for name, urn in gone.items() if name in come}


def renames(then: Mapping[str, ResourceState], now: Mapping[str, ResourceState]) -> dict[str, str]:
    """The URN in `now` of each resource in `then` that was renamed since and has another URN there.

    It is recognized by the aliases that the engine recorded, or because it is the same object. As two resources, it
    would be created again under one name, and the delete of the other name would then delete it.
    """
    gone = [each for urn, each in now.items() if urn not in then]
    by_thing = {(each.type, each.id): each.urn for each in gone if each.is_object and each.id}
    by_alias = {str(alias): each.urn for each in gone for alias in each.raw.get("aliases") or ()}
    found: dict[str, str] = {}
    for urn, each in then.items():
        if urn not in now and each.type != STACK_TYPE:
            present = by_alias.get(urn) or by_thing.get((each.type, each.id))
            if present:
                found[urn] = present
    return found
