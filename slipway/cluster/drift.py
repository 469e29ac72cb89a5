"""Where the cluster differs from the recorded inputs of its objects, and the removal of what was added to them.

Drift is a declared field that is gone or has another value, or a field set by a manager other than the program's
provider and the cluster's controllers. A provider's refresh finds only the first kind: it ignores fields that were
never declared (pulumi-kubernetes prunes what it reads to the inputs). For it, an environment variable that `kubectl set
env` adds is not drift.

Controllers have different names in each distribution: `k3s`, `kubelite`. Every writer of an object's status is one.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.quantities import quantity_value
from slipway.cluster.client import Cluster
from slipway.cluster.deployed import (
    ApiResource,
    Deployed,
    Key,
    LiveObjects,
    cluster_errors,
    key_of,
    kind_of,
    metadata,
    object_path,
    recorded_name,
)
from slipway.cluster.diagnosis.model import Object, object_at, objects_at, text_at
from slipway.engine.events import Urn
from slipway.state.checkpoint import ResourceState
from slipway.state.difference import Difference, Operation, ResourceChange, difference
from slipway.values import Secret, decode, encode, is_secret, secret

OURS = "pulumi"
"""How the names of the provider's field managers begin."""
CONTROLLERS = frozenset({
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "cloud-controller-manager",
    "horizontal-pod-autoscaler", "cluster-autoscaler",
})  # fmt: skip
BY_HAND = "kubectl"
"""How the names of its field managers begin; `kubectl edit --subresource=status` does not make it a controller."""
STATUS = "status"
SERVER_METADATA = {
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
    "ownerReferences", "resourceVersion", "selfLink", "uid",
}  # fmt: skip
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Set by the controller of Deployments, and copied by `kubectl rollout undo`.
DEPLOYMENT_ANNOTATIONS = "deployment.kubernetes.io/"
# A token controller or OpenShift adds these to each ServiceAccount, and adds them again if they are missing.
DOCKERCFG = "-dockercfg-"
QUANTITIES = {"limits", "requests", "sizeLimit", "hard", "capacity", "averageValue", "divisor"}
# The keys of the API's associative lists. A list whose items differ in one of them is compared item by item.
ITEM_KEYS = ("name", "mountPath", "containerPort", "port", "ip", "topologyKey", "uid", "type")
_MISSING = object()

MANAGED_BY, PART_OF, NAME = (f"app.kubernetes.io/{name}" for name in ("managed-by", "part-of", "name"))
MANAGER = "pulumi"
# Kinds that the program can create: an object of these with its labels belongs to it, whether or not a state has it.
OWN_KINDS = frozenset(
    ApiResource(version, kind)
    for version, kinds in {
        "v1": ("ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
        "apps/v1": ("Deployment", "StatefulSet", "DaemonSet"),
        "autoscaling/v2": ("HorizontalPodAutoscaler",),
        "batch/v1": ("CronJob", "Job"),
        "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
        "policy/v1": ("PodDisruptionBudget",),
    }.items()
    for kind in kinds
)
Pointer = tuple[str, ...]
KEPT = {("metadata", "finalizers"), ("metadata", "ownerReferences")}
"""Their writer wants to act before the object is deleted, or to delete it with another."""


@dataclass(frozen=True)
class Drift:
    """`changes` go from the state to the cluster: a deletion is gone from the cluster, a creation is not in the state.

    `changed_by` names, by URN, the field managers other than the program's own that wrote an object; `live` has the
    existing objects, and `inputs` the result of `found_inputs` for each.
    """

    difference: Difference
    changed_by: Mapping[str, tuple[str, ...]]
    live: Mapping[str, Object] = field(default_factory=dict, repr=False)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def changes(self) -> tuple[ResourceChange, ...]:
        return self.difference.changes


def find(deployed: Deployed, project: str, others: frozenset[ApiResource] = OWN_KINDS) -> Drift:
    """The drift from a state, which should be decrypted; SlipwayError if the cluster does not answer.

    Objects that the state does not have are searched for among its own kinds and `others`.
    """
    recorded = deployed.objects()
    with cluster_errors():
        return drift(recorded, to_read(recorded, deployed.cluster, others), deployed.stack, project)


def to_read(recorded: list[ResourceState], cluster: Cluster, others: frozenset[ApiResource] = OWN_KINDS) -> LiveObjects:
    """Everything that has to be read to find the drift of these resources."""
    kinds = {kind_of(each) for each in recorded}
    namespaces = {str(about["namespace"]) for each in recorded if (about := metadata(each)).get("namespace")}
    cluster_wide = frozenset(
        (kind_of(each), recorded_name(each)) for each in recorded if not metadata(each).get("namespace")
    )
    return LiveObjects(cluster, frozenset(kinds) | others, frozenset(namespaces), cluster_wide)


def drift(recorded: list[ResourceState], live: LiveObjects, stack: str, project: str) -> Drift:
    """`recorded` are the state's resources in Kubernetes, which should be decrypted."""
    by_urn = {each.urn: live.objects.get(key_of(each, live)) for each in recorded}
    by_controllers = controllers(live.objects.values())
    scalers = [(key, item) for key, item in live.objects.items() if key.kind.name == "HorizontalPodAutoscaler"]
    autoscaled = set()
    for key, item in scalers:
        version, kind, name = (text_at(item, "spec", "scaleTargetRef", each) for each in ("apiVersion", "kind", "name"))
        autoscaled.add(Key(ApiResource(version, kind), key.namespace, name))
    found: list[dict[str, object]] = []
    for each in recorded:
        if (live_object := by_urn[each.urn]) is not None:
            inputs = found_inputs(
                each.inputs,
                live_object,
                each.outputs,
                by_controllers=by_controllers,
                autoscaled=key_of(each, live) in autoscaled,
            )
            found.append({**each.raw, "inputs": inputs})
    compared = difference({"resources": [each.raw for each in recorded]}, {"resources": found})
    unknown = _unknown(recorded, live, stack, project)
    everything = tuple(sorted((*compared.changes, *unknown), key=lambda each: (each.service, each.resource.kind)))
    there = {urn: item for urn, item in by_urn.items() if item is not None}
    by = {urn: names for urn, item in there.items() if (names := managers(item, by_controllers))}
    as_found = {ResourceState(raw).urn: ResourceState(raw).inputs for raw in found}
    return Drift(Difference(everything, compared.secrets_compared), by, there, as_found)


def _unknown(recorded: list[ResourceState], live: LiveObjects, stack: str, project: str) -> list[ResourceChange]:
    """Objects that have the program's labels, but are not in the state."""
    known = {key_of(each, live) for each in recorded}
    found = []
    for key, item in live.objects.items():
        labels = object_at(item, "metadata", "labels")
        if text_at(item, "metadata", "deletionTimestamp"):
            continue  # it is being deleted
        if any(each.get("controller") for each in objects_at(item, "metadata", "ownerReferences")):
            continue  # its controller creates it from a template, and would create it again
        if key not in known and labels.get(MANAGED_BY) == MANAGER and labels.get(PART_OF) == project:
            version = key.kind.api_version if "/" in key.kind.api_version else f"core/{key.kind.api_version}"
            urn = f"urn:pulumi:{stack}::{project}::kubernetes:{version}:{key.kind.name}::{key.name}"
            found.append(ResourceChange(Urn(urn), Operation.CREATE, text_at(labels, NAME)))
    return found


def controllers(items: Iterable[Object]) -> frozenset[str]:
    """The field managers that are controllers of the cluster of these objects, whatever their names are."""
    entries = [entry for item in items for entry in objects_at(item, "metadata", "managedFields")]
    writers = {text_at(entry, "manager") for entry in entries if entry.get("subresource") == STATUS}
    return CONTROLLERS | {name for name in writers if not name.startswith((BY_HAND, OURS))}


def found_inputs(
    declared: Mapping[str, Any],
    live: Object,
    applied: Object | None = None,
    *,
    by_controllers: frozenset[str] = CONTROLLERS,
    autoscaled: bool = False,
) -> dict[str, Any]:
    """The declared inputs as they are in the cluster, with what others have added to them.

    Equal to `declared` if nothing has drifted, whichever manager has written it. `applied` is the API server's answer
    when they were applied: the server's or an admission webhook's change of a field at that time is not drift. A secret
    stays a secret, whatever its value is now. Additions of the managers `by_controllers` are not drift, nor are the
    replicas of an object that is `autoscaled`.
    """
    seen = _with_text(live, declared)
    found: dict[str, Any] = _overlay(declared, seen, ())
    if applied:
        found = _as_declared(declared, _overlay(declared, _with_text(applied, declared), ()), found)
    for entry in foreign_entries(live, by_controllers):
        fields = entry.get("fieldsV1")
        if isinstance(fields, Mapping):
            _add(found, seen, _of_people(fields, live, text_at(entry, "manager"), autoscaled=autoscaled), ())
    return found


def foreign_entries(live: Object, by_controllers: frozenset[str] = CONTROLLERS) -> list[Object]:
    """The entries of field managers that are neither the program's provider nor the cluster itself."""
    return [
        entry
        for entry in objects_at(live, "metadata", "managedFields")
        if not text_at(entry, "manager").startswith(OURS)
        and text_at(entry, "manager") not in by_controllers
        and entry.get("subresource") != STATUS
    ]


def managers(live: Object, by_controllers: frozenset[str] = CONTROLLERS) -> tuple[str, ...]:
    """The other managers that wrote the object, the latest first."""
    entries = sorted(foreign_entries(live, by_controllers), key=lambda entry: text_at(entry, "time"), reverse=True)
    return tuple(dict.fromkeys(text_at(entry, "manager") for entry in entries))


def _of_people(fields: Mapping[str, Any], live: Object, manager: str, *, autoscaled: bool) -> dict[str, Any]:
    """The fields of an entry without those that the cluster adds to every object of the kind: if they were removed, it
    would add them again.
    """
    kept = {key: each for key, each in fields.items() if key != f"f:{STATUS}"}
    if autoscaled:
        kept = _without(kept, "f:spec", "f:replicas")
    if live.get("kind") == "ServiceAccount":
        kept.pop("f:secrets", None)
        kept = _without(kept, "f:imagePullSecrets", f"{text_at(live, 'metadata', 'name')}{DOCKERCFG}")
    if live.get("kind") == "Namespace" and not manager.startswith(BY_HAND):
        # OpenShift, Rancher and others keep their own data there: `openshift.io/sa.scc.mcs`.
        about = object_at(kept, "f:metadata")
        for name in ("f:annotations", "f:labels", "f:finalizers"):
            about = _without(about, name, "/")
        kept["f:metadata"] = about
    return kept


def _without(fields: Mapping[str, Any], name: str, text: str) -> dict[str, Any]:
    """Managed fields without those below `name` that have `text` in their key, and without `name` if none is left."""
    rest = {key: each for key, each in object_at(fields, name).items() if text not in key}
    others = {key: each for key, each in fields.items() if key != name}
    return others if set(rest) <= {"."} else {**others, name: rest}


def _with_text(live: Object, declared: Mapping[str, Any]) -> dict[str, Any]:
    """The live object with `stringData`, which the API server returns as `data`, in base64."""
    seen = dict(live)
    if "stringData" in declared and isinstance(data := seen.pop("data", None), Mapping):
        text = {key: base64.b64decode(str(value)).decode(errors="replace") for key, value in data.items()}
        seen["stringData"] = text
    return seen


def _overlay(declared: Any, live: Any, path: tuple[str, ...]) -> Any:
    """`declared` with the live values in it; a value with the same meaning stays as it was declared."""
    if is_secret(declared):
        return _secret(declared, live, path)
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        pairs = ((key, each, live.get(key, _MISSING)) for key, each in declared.items())
        return {
            key: each if now is _MISSING else _overlay(each, now, (*path, key))
            for key, each, now in pairs
            if now is not _MISSING or _is_nothing(each)
        }
    if isinstance(declared, list) and isinstance(live, list):
        if key := item_key(declared, live):
            by_key = {item[key]: item for item in live}
            return [_overlay(item, by_key[item[key]], path) for item in declared if item[key] in by_key]
        if len(declared) == len(live):
            return [_overlay(item, now, path) for item, now in zip(declared, live, strict=True)]
        return copy.deepcopy(live)
    return declared if _is_same(declared, live, path) else copy.deepcopy(live)


def _as_declared(declared: Any, applied: Any, found: Any) -> Any:
    """`found`, with the declared value wherever the found value is the result of applying it."""
    if found == declared or is_secret(declared):
        return found
    if isinstance(declared, Mapping) and isinstance(applied, Mapping) and isinstance(found, Mapping):
        dropped = {key: each for key, each in declared.items() if key not in applied and key not in found}
        kept = {
            key: _as_declared(declared.get(key, _MISSING), applied.get(key, _MISSING), each)
            for key, each in found.items()
        }
        return kept | dropped
    lists = isinstance(declared, list) and isinstance(applied, list) and isinstance(found, list)
    if lists and len(declared) == len(applied) == len(found):
        return [_as_declared(*each) for each in zip(declared, applied, found, strict=True)]
    return declared if found == applied and declared is not _MISSING else found


def item_key(*lists: Sequence[Any]) -> str:
    """The field that every item of all the lists has, with a different value in each item of a list; empty for none."""
    for key in ITEM_KEYS:
        values = [[item.get(key) if isinstance(item, Mapping) else None for item in items] for items in lists]
        if all(
            all(isinstance(value, str | int) for value in each) and len(set(map(str, each))) == len(each)
            for each in values
        ):
            return key
    return ""


def _secret(declared: Mapping[str, Any], live: Any, path: tuple[str, ...]) -> Any:
    """A secret that cannot be decrypted counts as unchanged."""
    known: Secret = decode(declared)
    if known.is_encrypted:
        return declared
    found = _overlay(known.value, live, path)
    return declared if found == known.value else encode(secret(found))


def _is_nothing(value: Any) -> bool:
    """Whether the API server leaves it out."""
    return value is None or value in ("", 0, False, [], {})


def _is_same(declared: Any, live: Any, path: tuple[str, ...]) -> bool:
    if declared == live and isinstance(declared, bool) == isinstance(live, bool):
        return True
    if isinstance(declared, int | float | str) and isinstance(live, int | float | str) and QUANTITIES & set(path):
        try:
            return quantity_value(str(declared)) == quantity_value(str(live))
        except ValueError:
            return False
    return _is_nothing(declared) and _is_nothing(live)


def _add(found: Any, live: Any, fields: Mapping[str, Any], path: tuple[str, ...]) -> None:
    """Add to `found` what the managed `fields` of another manager name and `found` does not have."""
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind == "f" and isinstance(found, dict) and isinstance(live, Mapping) and name in live:
            of_server = path == ("metadata",) and name in SERVER_METADATA
            is_note = name == LAST_APPLIED or name.startswith(DEPLOYMENT_ANNOTATIONS)
            if of_server or is_note or is_secret(found.get(name)):
                continue
            value, inside = live[name], below or {}
            if name in found or (inside and set(inside) != {"."} and isinstance(value, dict | list)):
                into = found.get(name, [] if isinstance(value, list) else {})
                _add(into, value, inside, (*path, name))
                if into or name in found:
                    found[name] = into
            elif not _is_nothing(value):
                found[name] = copy.deepcopy(value)
        elif kind == "k" and isinstance(found, list) and isinstance(live, list):
            # An item of an associative list, identified by its keys; a declared item may omit a key with its default.
            keys = json.loads(name)
            item = next((each for each in live if _matches(each, keys, missing=False)), None)
            if item is None:
                continue
            known = next((each for each in found if _matches(each, keys, missing=True)), None)
            if known is None:
                found.append(copy.deepcopy(item))
            else:
                _add(known, item, below or {}, path)
        elif kind == "v" and isinstance(found, list) and isinstance(live, list):
            value = json.loads(name)
            if value in live and value not in found:
                found.append(value)


def _matches(item: Any, keys: Mapping[str, Any], *, missing: bool) -> bool:
    if not isinstance(item, Mapping):
        return False
    present = {key for key in keys if key in item}
    enough = bool(present) if missing else len(present) == len(keys)
    return enough and all(item[key] == keys[key] for key in present)


@dataclass(frozen=True)
class Addition:
    """A field or an item of a list that is not declared: its path in the live object, and its value."""

    pointer: Pointer
    value: Any

    def operations(self) -> list[dict[str, Any]]:
        """As JSON Patch (RFC 6902); it fails if there is another value by now."""
        path = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in self.pointer)
        return [{"op": "test", "path": path, "value": self.value}, {"op": "remove", "path": path}]


def remove_additions(deployed: Deployed, found: Drift) -> list[str]:
    """Remove every addition of `found`, one object at a time; returns the objects, for people.

    An apply reverts declared fields and leaves others: https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
    Raises SlipwayError if the cluster refuses. Objects that are in no state stay.
    """
    changed = []
    with cluster_errors():
        for resource in deployed.objects():
            live, inputs = found.live.get(resource.urn), found.inputs.get(resource.urn)
            if live is None or inputs is None or not (added := list(additions(resource.inputs, inputs, live))):
                continue
            namespace = str(metadata(resource).get("namespace", ""))
            path = object_path(deployed.cluster, kind_of(resource), namespace, recorded_name(resource))
            if path:
                deployed.cluster.patch(path, [operation for each in added for operation in each.operations()])
            changed.append(str(Urn(resource.urn)))
    return changed


def additions(declared: Any, found: Any, live: Any, pointer: Pointer = ()) -> Iterator[Addition]:
    """What `found` has besides `declared`, in an order in which they can be removed one after another. Pure.

    In a list whose items have no key, another value is not an addition: an apply sets the whole list.
    """
    if is_secret(declared):
        return
    if isinstance(declared, Mapping) and isinstance(found, Mapping) and isinstance(live, Mapping):
        for key, each in found.items():
            if key not in live or (*pointer, key) in KEPT:
                continue
            if key in declared or (isinstance(each, dict | list) and each != live[key]):  # or only some of it was added
                yield from additions(declared.get(key, type(each)()), each, live[key], (*pointer, key))
            else:
                yield Addition((*pointer, key), live[key])
    elif isinstance(declared, list) and isinstance(found, list) and isinstance(live, list):
        # From its end, so that the indexes of earlier items stay the same.
        backwards = reversed(list(enumerate(live)))
        if not (key := item_key(found, live)):
            added = [each for each in found if each not in declared] if len(found) > len(declared) else []
            yield from (Addition((*pointer, str(at)), each) for at, each in backwards if each in added)
            return
        known, present = ({item.get(key): item for item in items} for items in (declared, found))
        for at, item in backwards:
            name = item[key]
            if name in known and name in present:
                yield from additions(known[name], present[name], item, (*pointer, str(at)))
            elif name in present:
                yield Addition((*pointer, str(at)), item)
