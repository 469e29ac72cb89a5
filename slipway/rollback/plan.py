"""Plans a rollback: declare a recorded state, adapted to the present one. Pure: decrypted states in, resources out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slipway.engine.events import STACK_TYPE, Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import ConfigurationError, SlipwayError
from slipway.state.checkpoint import (
    ENVIRONMENT_TYPE,
    PROVIDER_PREFIX,
    SERVICE_IMAGE_TYPE,
    WORKLOAD_COMPONENTS,
    ResourceState,
    Snapshot,
    is_settled,
    outputs,
    renames,
    resources,
    stem,
)
from slipway.state.difference import STATEFUL_KINDS
from slipway.state.integrity import in_order
from slipway.state.kubernetes_objects import (
    directed,
    images_of,
    is_destructive,
    is_suspended,
    migration_of,
    migrations,
    run_of,
    with_suspension,
)
from slipway.values import Path, mapped, opened

ROLLBACK_VARIABLE = "SLIPWAY_ROLLBACK"
"""Environment variable in which `slipway rollback` passes its request to the program, as JSON."""

SECRET_TYPE = "kubernetes:core/v1:Secret"  # noqa: S105 (a resource type)
# The keys whose `name` or `secretName` refers to a Secret.
SECRET_REFERENCES = {"secretRef", "secretKeyRef", "secret", "imagePullSecrets", "tls", "nodePublishSecretRef"}
# Fields for which the Kubernetes provider replaces an object (pulumi-kubernetes, provider/pkg/provider/diff.go), and
# fields that the API server refuses to change: the provider replaces the object for these too.
IMMUTABLE_FIELDS = {
    "StatefulSet": ("serviceName", "selector", "volumeClaimTemplates", "podManagementPolicy", "revisionHistoryLimit"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName", "volumeName", "selector", "dataSource", "volumeMode"),
    "PersistentVolume": (
        *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
        *("gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk"),
        *("portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume", "volumeMode"),
    ),
}
# Fields that the engine adds to the declared ones; the outputs of a component are declared.
NOT_DECLARED = {"id", "outputs", "created", "modified", "sourcePosition", "stackTrace"}


@dataclass(frozen=True)
class RollbackRequest:
    """Which recorded state to declare again, and what to keep of the present one. No `services` means all of them."""

    target: int
    services: tuple[str, ...] = ()
    keep_secrets: bool = False
    include_stateful: bool = False
    unmanaged_namespace: str = ""
    """A namespace that the stack does not manage now: it is neither created nor changed."""
    unchanged: str = ""
    """A hash over the resources that the engine leaves as they are; empty if there are none."""

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> RollbackRequest:
        fields = json.loads(text)
        return cls(**{**fields, "services": tuple(fields["services"])})


@dataclass(frozen=True)
class RollbackPlan:
    """`resources` in an order in which each comes after its dependencies; `outputs` are the stack's.

    `aliases` has the present URN of each resource that has another URN in the present state. `kept` are the present
    resources that the recorded state does not have and that stay because they hold data or are protected.
    """

    resources: tuple[ResourceState, ...]
    outputs: Mapping[str, Any]
    aliases: Mapping[str, str]
    kept: tuple[ResourceState, ...]

    def objects(self) -> dict[str, ResourceState]:
        return {each.urn: each for each in self.resources if each.is_object}


class DataAtStakeError(SlipwayError):
    """A rollback would lose stored data; `include_stateful` allows it."""


def plan_rollback(target: Snapshot, present: Snapshot, request: RollbackRequest) -> RollbackPlan:
    """The resources to declare so that the present state becomes the recorded one; both states decrypted.

    Raises ConfigurationError for services that the recorded state does not have, and DataAtStakeError if stored data
    would be lost without `include_stateful`.
    """
    then, now = (_by_urn(state, request.unmanaged_namespace) for state in (target, present))
    chosen = _of_services(then, now, request) if request.services else dict(then)
    aliases = renames(chosen, now)
    if request.keep_secrets:
        chosen = _with_present_secrets(chosen, now, aliases)
    if not request.include_stateful:
        _require_no_replaced_data(chosen, now, aliases, _to_be_removed(present))
        _require_no_destructive_migration(chosen, now)
    chosen = _without_running_migrations(chosen, now, _to_be_removed(present))
    # The engine refuses to delete protected resources, after it has done the rest.
    keeps_data = set() if request.include_stateful else STATEFUL_KINDS
    renamed = set(aliases.values())
    gone = (each for urn, each in now.items() if urn not in chosen and urn not in renamed and each.is_object)
    kept = tuple(each for each in gone if each.raw.get("protect") or _kind(each) in keeps_data)
    chosen |= _with_what_they_need(kept, now, chosen)
    declared = tuple(map(directed, _in_order(chosen)))
    return RollbackPlan(declared, _outputs(target, present, chosen, request), aliases, kept)


def _by_urn(snapshot: Snapshot, unmanaged: str) -> dict[str, ResourceState]:
    """The resources, without the namespace that the stack does not manage now, if there is one."""
    return {
        each.urn: each
        for each in resources(snapshot)
        if not (unmanaged and _kind(each) == "Namespace" and each.id == unmanaged)
    }


def _of_services(
    then: Mapping[str, ResourceState], now: Mapping[str, ResourceState], request: RollbackRequest
) -> dict[str, ResourceState]:
    """The present state, with the recorded resources of the named services in place of their present ones.

    After a destroy this includes dependencies that belong to no service, such as their namespace.
    """
    known = sorted({each.service for each in then.values() if each.service})
    if missing := [name for name in request.services if name not in known]:
        raise ConfigurationError(
            f"Update #{request.target} has no service {', '.join(missing)}.",
            why=f"Its services: {', '.join(known) or 'none'}.",
            next_step="Name one of them, or another update with --to.",
        )
    others = {urn: each for urn, each in now.items() if each.service not in request.services}
    theirs = [each for each in then.values() if each.service in request.services]
    needed = {urn for each in theirs for urn in each.dependencies}
    of_nobody = {urn for urn in needed if urn in then and not then[urn].service}
    return others | _with_what_they_need([*theirs, *(then[urn] for urn in of_nobody)], then, others)


def _with_present_secrets(
    chosen: Mapping[str, ResourceState], now: Mapping[str, ResourceState], aliases: Mapping[str, str]
) -> dict[str, ResourceState]:
    """The same resources with the present Secrets, and with their present names in every reference to a Secret."""
    names: dict[str, str] = {}
    secrets: dict[str, ResourceState] = {}
    # A failed update leaves the Secret of the update before it beside its own.
    created = sorted(now.values(), key=lambda each: str(each.raw.get("created", "")))
    newest = {stem(each.urn): each.urn for each in created if each.type == SECRET_TYPE}
    for urn, each in chosen.items():
        present = now.get(aliases.get(urn) or newest.get(stem(urn), urn))
        if each.type == SECRET_TYPE and present:
            renamed = ResourceState({**each.raw, "id": present.id, "inputs": present.inputs})
            secrets[urn] = renamed if urn in aliases else present
            names |= {_object_name(each): _object_name(present), urn: secrets[urn].urn}
    kept = (secrets.get(urn) or _renamed(each, names) for urn, each in chosen.items())
    return {each.urn: each for each in kept}


def _object_name(resource: ResourceState) -> str:
    return str((resource.inputs.get("metadata") or {}).get("name", ""))


def _renamed(resource: ResourceState, names: Mapping[str, str]) -> ResourceState:
    """`names` maps recorded names to present ones: URNs, and names of Secrets in Kubernetes."""

    def rename(value: Any, path: Path) -> Any:
        *around, name = path or ("",)
        if name not in ("name", "secretName") or not isinstance(value, str):
            return value
        key = next((part for part in reversed(around) if isinstance(part, str)), "")
        return names.get(value, value) if key in SECRET_REFERENCES else value

    if not resource.is_object:
        return resource
    renamed = {**resource.raw, "inputs": mapped(resource.inputs, rename)}
    renamed["dependencies"] = [names.get(urn, urn) for urn in resource.dependencies]
    by_property = resource.raw.get("propertyDependencies") or {}
    renamed["propertyDependencies"] = {key: [names.get(urn, urn) for urn in urns] for key, urns in by_property.items()}
    return ResourceState({key: each for key, each in renamed.items() if each or key in resource.raw})


def _to_be_removed(snapshot: Snapshot) -> set[tuple[str, str]]:
    """URN and id of objects that a failed update has replaced but not deleted: `revert_replacements` restores them.

    For a Namespace this loses no data: the objects in the new one are checked one by one.
    """
    return {(str(raw["urn"]), str(raw.get("id"))) for raw in snapshot.get("resources") or () if raw.get("delete")}


def _require_no_replaced_data(
    chosen: Mapping[str, ResourceState],
    now: Mapping[str, ResourceState],
    aliases: Mapping[str, str],
    to_be_removed: set[tuple[str, str]],
) -> None:
    replaced = [
        f"{Urn(urn)}: {reason}"
        for urn, each in chosen.items()
        if each.is_object and _kind(each) in STATEFUL_KINDS
        if not (_kind(each) == "Namespace" and (urn, each.id) in to_be_removed)
        if (present := now.get(aliases.get(urn, urn))) and (reason := _replacement_reason(each, present))
    ]
    if replaced:
        raise DataAtStakeError(
            "The rollback would replace objects that hold data, which deletes the data.",
            why="\n".join(replaced),
            next_step="Save the data and add --include-stateful, or choose another update with --to.",
        )


def _require_no_destructive_migration(chosen: Mapping[str, ResourceState], now: Mapping[str, ResourceState]) -> None:
    """Raise DataAtStakeError for a release that cannot work with the data that a later migration has left.

    If the present pods are already those of that release, the migration did not finish.
    """
    then, present = migrations(chosen.values()), migrations(now.values())
    over = [
        f"{service}: its migration (Job {each.id.rpartition('/')[2]}) is declared destructive"
        for service, each in present.items()
        if is_destructive(each) and not is_suspended(each)
        if service not in then or run_of(then[service]) != run_of(each)
        if _images_of(service, chosen) != _images_of(service, now)
    ]
    if over:
        raise DataAtStakeError(
            "The rollback would go back past a migration that the earlier release does not support.",
            why="\n".join(over),
            next_step="Restore the data and add --include-stateful, which runs no migration backwards, or go forward "
            "with a fixed release.",
        )


def _images_of(service: str, known: Mapping[str, ResourceState]) -> list[str]:
    """The images of the service, except those of its migration."""
    found = (each for each in known.values() if each.service == service and not migration_of(each))
    return sorted(image for each in found for image in images_of(each))


def _without_running_migrations(
    chosen: Mapping[str, ResourceState], now: Mapping[str, ResourceState], to_be_removed: set[tuple[str, str]]
) -> dict[str, ResourceState]:
    """The same resources, but no migration runs: the program that once changed the data does not change them back.

    A migration of the recorded state still exists, or is declared so that it does not run (`suspend`).
    """

    def suspended(each: ResourceState) -> bool:
        present = now.get(each.urn)
        if present is not None and present.id == each.id:
            return is_suspended(present)
        return (each.urn, each.id) not in to_be_removed

    return {
        urn: with_suspension(each, suspended=suspended(each)) if migration_of(each) else each
        for urn, each in chosen.items()
    }


def services_migrated_since(plan: RollbackPlan, between: Iterable[Snapshot]) -> list[str]:
    """The services whose data were changed by migrations since the state that `plan` declares; they stay changed.

    `between` are the states since then, including the present one.
    """
    then = {service: run_of(each) for service, each in migrations(plan.resources).items()}
    later: dict[str, None] = {}
    for state in between:
        for service, each in migrations(resources(state)).items():
            if not is_suspended(each) and then.get(service) != run_of(each):
                later[service] = None
    return sorted(later)


def _replacement_reason(then: ResourceState, now: ResourceState) -> str:
    if then.id != now.id:
        return f"it was {then.id} and is {now.id}"
    if opened(then.raw.get("replacementTrigger")) != opened(now.raw.get("replacementTrigger")):
        return "its replacement trigger differs"
    before, after = opened(then.inputs.get("spec") or {}), opened(now.inputs.get("spec") or {})
    changed = [name for name in IMMUTABLE_FIELDS.get(_kind(then), ()) if before.get(name) != after.get(name)]
    if changed:
        return f"spec.{changed[0]} differs, which cannot be changed in place"
    replacing = then.raw.get("replaceOnChanges") or ()
    if replacing and opened(then.inputs) != opened(now.inputs):
        return f"it differs, and was declared to be replaced when {', '.join(replacing)} changes"
    return ""


def _kind(resource: ResourceState) -> str:
    return resource.type.rsplit(":", 1)[-1]


def _with_what_they_need(
    kept: Iterable[ResourceState], now: Mapping[str, ResourceState], chosen: Mapping[str, ResourceState]
) -> dict[str, ResourceState]:
    """The `kept` resources, their parents and providers: with another provider the engine would replace them."""
    found: dict[str, ResourceState] = {}
    needed = [each.urn for each in kept]
    while needed:
        urn = needed.pop()
        if urn in now and urn not in chosen and urn not in found:
            found[urn] = now[urn]
            needed += [now[urn].parent, now[urn].provider]
    return found


def _in_order(chosen: Mapping[str, ResourceState]) -> Iterator[ResourceState]:
    """Parents and dependencies first; two states are mixed, so the engine's order is not enough."""
    return (chosen[urn] for urn in in_order(chosen, lambda urn: chosen[urn].needs))


def _outputs(
    target: Snapshot, present: Snapshot, chosen: Mapping[str, ResourceState], request: RollbackRequest
) -> Mapping[str, Any]:
    """The recorded outputs; if only some services go back, the others have their present ones.

    A failed update leaves no outputs, so the others' are read from their components.
    """
    if not request.services:
        return outputs(target)
    services = {}
    for name in sorted({each.name for each in chosen.values() if each.type in WORKLOAD_COMPONENTS}):
        url = next((found for kind in WORKLOAD_COMPONENTS if (found := _output(chosen, kind, name, "url"))), None)
        image = _output(chosen, SERVICE_IMAGE_TYPE, name, "reference")
        services[name] = {**({"url": url} if url else {}), "image": image}
    return {**(outputs(present) or outputs(target)), "services": services}


def _output(chosen: Mapping[str, ResourceState], type_: str, name: str, key: str) -> Any:
    found = (each.outputs for each in chosen.values() if each.type == type_ and each.name == name)
    return next(found, {}).get(key)


def unchanged_resources(plan: RollbackPlan, present: Snapshot) -> set[str]:
    """The URNs of the resources of `plan` that the present state already has as recorded, and that do not depend,
    directly or indirectly, on a resource that differs; both decrypted.

    The engine may leave these as they are, and the program need not declare them. Empty if an update was cut short:
    the state then does not say what is in the cluster.
    """
    if not is_settled(present):
        return set()
    now = {each.urn: each for each in resources(present)}
    same = {each.urn for each in plan.resources if each.urn in now and _is_same(each, now[each.urn])}
    # The engine deletes resources that depend on a target and are not declared. It does not delete resources that an
    # excluded one depends on. An image is neither changed nor deleted.
    moves = {urn for urn, each in now.items() if urn not in same and not _is_always_declared(each)}
    for urn, each in now.items():  # dependencies first
        if moves.intersection(each.needs):
            moves.add(urn)
    return same - moves


def _is_always_declared(resource: ResourceState) -> bool:
    types = (STACK_TYPE, ENVIRONMENT_TYPE, IMAGE_TYPE)
    return resource.type in types or resource.type.startswith(PROVIDER_PREFIX)


def _is_same(then: ResourceState, now: ResourceState) -> bool:
    """Whether declaring it would change nothing. A resource that is only read is read again."""
    return not (_is_always_declared(then) or then.raw.get("external")) and _declared(then) == _declared(now)


def _declared(resource: ResourceState) -> dict[str, Any]:
    raw = resource.raw
    outputs = raw.get("outputs") if not resource.custom else None
    kept = {key: each for key, each in raw.items() if key not in NOT_DECLARED and each}
    by_property: Mapping[str, Any] = raw.get("propertyDependencies") or {}
    return {
        **kept,
        "outputs": outputs or {},
        "dependencies": sorted(resource.dependencies),
        "propertyDependencies": {key: sorted(urns) for key, urns in by_property.items() if urns},
    }


def declared_resources(plan: RollbackPlan, unchanged: Collection[str]) -> tuple[ResourceState, ...]:
    """The resources of `plan` without the unchanged ones that nothing else needs, in its order."""
    known = {each.urn: each for each in plan.resources}
    needed: set[str] = set()
    waiting = [urn for urn in known if urn not in unchanged]
    while waiting:
        urn = waiting.pop()
        if urn in known and urn not in needed:
            needed.add(urn)
            waiting += known[urn].needs
    return tuple(each for each in plan.resources if each.urn in needed)


def unchanged_digest(unchanged: Collection[str]) -> str:
    """A hash by which the program checks that it leaves out the resources that the engine leaves as they are."""
    return hashlib.sha256("\n".join(sorted(unchanged)).encode()).hexdigest()
