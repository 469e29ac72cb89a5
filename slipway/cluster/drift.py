"""What a cluster's object has that its recorded inputs do not say. Pure: recorded and live objects in, the found out.

Two things tell: a declared field whose value is another, or gone; and a field that another manager than the program's
provider and Kubernetes' own controllers has set. A provider's refresh knows the first alone: fields that were never
declared are none of its business (pulumi-kubernetes prunes what it reads to the inputs), so an environment variable
that `kubectl set env` adds is no drift to it.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.quantities import quantity_value
from slipway.cluster.diagnosis.objects import Object, objects_at, text_at
from slipway.masking import SECRET_SIGNATURE, SIGNATURE

OURS = "pulumi"
"""How the names of the provider's field managers begin."""
CONTROLLERS = {
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "cloud-controller-manager",
    "horizontal-pod-autoscaler", "cluster-autoscaler",
}  # fmt: skip
STATUS = "status"
SERVER_METADATA = {
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
    "ownerReferences", "resourceVersion", "selfLink", "uid",
}  # fmt: skip
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
QUANTITIES = {"limits", "requests", "sizeLimit", "hard", "capacity", "averageValue", "divisor"}
# A list whose items these tell apart is compared item by item: the keys of the API's associative lists.
ITEM_KEYS = ("name", "mountPath", "containerPort", "port", "ip", "topologyKey", "uid", "type")
_MISSING = object()


def found_inputs(declared: Mapping[str, Any], live: Object, applied: Object | None = None) -> dict[str, Any]:
    """The declared inputs as they are found in the cluster, with what others have added to them.

    Equal to `declared` where nothing has drifted, whoever has written it. `applied` is the object as the API server
    answered when they were applied: what it or an admission webhook made of a field then is no drift. A secret stays
    one, whatever it is now.
    """
    seen = _with_text(live, declared)
    found: dict[str, Any] = _overlay(declared, seen, ())
    if applied:
        found = _as_declared(declared, _overlay(declared, _with_text(applied, declared), ()), found)
    for entry in foreign_entries(live):
        fields = entry.get("fieldsV1")
        if isinstance(fields, Mapping):
            _add(found, seen, {key: each for key, each in fields.items() if key != f"f:{STATUS}"}, ())
    return found


def foreign_entries(live: Object) -> list[Object]:
    """The field managers that are neither the program's provider nor Kubernetes itself."""
    return [
        entry
        for entry in objects_at(live, "metadata", "managedFields")
        if not text_at(entry, "manager").startswith(OURS)
        and text_at(entry, "manager") not in CONTROLLERS
        and entry.get("subresource") != STATUS
    ]


def managers(live: Object) -> tuple[str, ...]:
    """Who else wrote the object, the latest first."""
    entries = sorted(foreign_entries(live), key=lambda entry: text_at(entry, "time"), reverse=True)
    return tuple(dict.fromkeys(text_at(entry, "manager") for entry in entries))


def _with_text(live: Object, declared: Mapping[str, Any]) -> dict[str, Any]:
    """The API server gives a Secret's `stringData` back as `data`, in base64."""
    seen = dict(live)
    if "stringData" in declared and isinstance(data := seen.pop("data", None), Mapping):
        text = {key: base64.b64decode(str(value)).decode(errors="replace") for key, value in data.items()}
        seen["stringData"] = text
    return seen


def _overlay(declared: Any, live: Any, path: tuple[str, ...]) -> Any:
    """`declared` with the live values in it; what is no difference in meaning stays as it was declared."""
    if _is_secret(declared):
        return _secret(declared, live, path)
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        pairs = ((key, each, live.get(key, _MISSING)) for key, each in declared.items())
        return {
            key: each if now is _MISSING else _overlay(each, now, (*path, key))
            for key, each, now in pairs
            if now is not _MISSING or _is_nothing(each)
        }
    if isinstance(declared, list) and isinstance(live, list):
        return _overlay_list(declared, live, path)
    return declared if _is_same(declared, live, path) else copy.deepcopy(live)


def _as_declared(declared: Any, applied: Any, found: Any) -> Any:
    """`found`, with the declared value wherever it is what was made of that value when it was applied."""
    if found == declared or _is_secret(declared):
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


def _overlay_list(declared: list[Any], live: list[Any], path: tuple[str, ...]) -> list[Any]:
    if key := _item_key(declared, live):
        by_key = {item[key]: item for item in live}
        return [_overlay(item, by_key[item[key]], path) for item in declared if item[key] in by_key]
    if len(declared) == len(live):
        return [_overlay(item, now, path) for item, now in zip(declared, live, strict=True)]
    return copy.deepcopy(live)


def _item_key(*lists: Sequence[Any]) -> str:
    """The field that every item of all the lists has, each list's its own; empty for none."""
    for key in ITEM_KEYS:
        values = [[item.get(key) if isinstance(item, Mapping) else None for item in items] for items in lists]
        if all(None not in each and len(set(map(str, each))) == len(each) for each in values):
            return key
    return ""


def _secret(declared: Mapping[str, Any], live: Any, path: tuple[str, ...]) -> Any:
    """A secret that cannot be opened counts as unchanged."""
    if "plaintext" not in declared:
        return declared
    value = json.loads(str(declared["plaintext"]))
    found = _overlay(value, live, path)
    return declared if found == value else {SIGNATURE: SECRET_SIGNATURE, "plaintext": json.dumps(found)}


def _is_secret(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET_SIGNATURE


def _is_nothing(value: Any) -> bool:
    """What the API server leaves out."""
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
    """Put into `found` what the managed `fields` of somebody else name and `found` does not have."""
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind == "f" and isinstance(found, dict) and isinstance(live, Mapping) and name in live:
            if not (path == ("metadata",) and name in SERVER_METADATA) and name != LAST_APPLIED:
                _add_field(found, live, name, below or {}, path)
        elif kind == "k" and isinstance(found, list) and isinstance(live, list):
            _add_item(found, live, json.loads(name), below or {}, path)
        elif kind == "v" and isinstance(found, list) and isinstance(live, list):
            value = json.loads(name)
            if value in live and value not in found:
                found.append(value)


def _add_field(found: dict[str, Any], live: Object, name: str, below: Mapping[str, Any], path: tuple[str, ...]) -> None:
    value = live[name]
    if _is_secret(found.get(name)):
        return
    if name in found or (below and set(below) != {"."} and isinstance(value, dict | list)):
        into = found.get(name, [] if isinstance(value, list) else {})
        _add(into, value, below, (*path, name))
        if into or name in found:
            found[name] = into
    elif not _is_nothing(value):
        found[name] = copy.deepcopy(value)


def _add_item(
    found: list[Any], live: Iterable[Any], wanted: Mapping[str, Any], below: Mapping[str, Any], path: tuple[str, ...]
) -> None:
    """An item of an associative list, which its keys tell apart; a declared item may leave out a key's default."""
    item = next((each for each in live if _matches(each, wanted, missing=False)), None)
    if item is None:
        return
    known = next((each for each in found if _matches(each, wanted, missing=True)), None)
    if known is None:
        found.append(copy.deepcopy(item))
    else:
        _add(known, item, below, path)


def _matches(item: Any, wanted: Mapping[str, Any], *, missing: bool) -> bool:
    if not isinstance(item, Mapping):
        return False
    present = {key for key in wanted if key in item}
    enough = bool(present) if missing else len(present) == len(wanted)
    return enough and all(item[key] == wanted[key] for key in present)
