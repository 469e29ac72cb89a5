"""Field ownership in server-side apply: taking over from older managers, telling of conflicts."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from lab.plugins.kubernetes.client import ApiError
from lab.plugins.kubernetes.values import Object, list_at, text_at

# The name under which objects are created (POST), by this provider as by the official one; the first update moves its
# fields to the resource's own manager.
CREATOR = "pulumi-kubernetes"
_LEGACY = (CREATOR, "pulumi-kubernetes.exe", "pulumi-resource-kubernetes", "before-first-apply")
_KUBECTL = "kubectl"
_GUIDE = (
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/managing-resources-with-server-side-apply/"
    "#handle-field-conflicts-on-existing-resources"
)


def entries(live: Object) -> list[Object]:
    """The managed field entries of a live object."""
    return [entry for entry in list_at(live, "metadata", "managedFields") if isinstance(entry, dict)]


def is_applied_by(live: Object, manager: str) -> bool:
    """Whether the manager has applied this object before and no legacy manager is left beside it."""
    applied = any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries(live))
    return applied and not any(_is_legacy(entry, take_kubectl=False) for entry in entries(live))


def has_legacy_manager(live: Object) -> bool:
    """Whether a manager of ours from before server-side apply holds fields."""
    return any(_is_legacy(entry, take_kubectl=False) for entry in entries(live))


def _is_legacy(entry: Object, *, take_kubectl: bool) -> bool:
    name = text_at(entry, "manager")
    if entry.get("subresource"):
        return False
    if take_kubectl and name.startswith(_KUBECTL):
        return True
    return name in _LEGACY and entry.get("operation") == "Update"


def taken_over(live: Object, manager: str, *, take_kubectl: bool) -> list[Object] | None:
    """The entries with all legacy managers' fields moved to the manager, or `None` if there are none to move."""
    legacy = [entry for entry in entries(live) if _is_legacy(entry, take_kubectl=take_kubectl)]
    if not legacy:
        return None
    own = [entry for entry in entries(live) if entry.get("manager") == manager and entry.get("operation") == "Apply"]
    merged = copy.deepcopy((own or legacy)[0])
    for entry in [*own, *legacy]:
        merged["fieldsV1"] = _union(merged.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    merged |= {"manager": manager, "operation": "Apply"}
    return [*(entry for entry in entries(live) if entry not in legacy and entry not in own), merged]


def _union(left: Object, right: Object) -> Object:
    result = dict(left)
    for key, value in right.items():
        result[key] = _union(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def owns(live: Object, manager: str, keys: Iterable[str]) -> bool:
    """Whether one of the manager's entries holds the field at a path of object keys, or something below it."""
    path = [f"f:{key}" for key in keys]
    return any(_has(entry.get("fieldsV1"), path) for entry in entries(live) if entry.get("manager") == manager)


def others_own(live: Object, manager: str, keys: Iterable[str]) -> bool:
    """Whether some other manager holds the field."""
    path = [f"f:{key}" for key in keys]
    return any(_has(entry.get("fieldsV1"), path) for entry in entries(live) if entry.get("manager") != manager)


def _has(fields: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(fields, dict) or key not in fields:
            return False
        fields = fields[key]
    return True


def conflict_message(error: ApiError, manager: str) -> str:
    """What a person needs to know of an apply conflict: which fields, whose they are, and the ways out."""
    owners: dict[str, list[str]] = {}
    for cause in error.causes:
        owners.setdefault(_owner(text_at(cause, "message")), []).append(text_at(cause, "field"))
    told = [f"  - {owner} owns {', '.join(fields)}" for owner, fields in owners.items()] or [f"  - {error}"]
    return "\n".join(
        [
            f"server-side apply field conflict detected, see {_GUIDE} for troubleshooting help",
            f"The resource managed by field manager {manager!r} had an apply conflict:",
            *told,
            'Either take these fields over with the annotation `pulumi.com/patchForce: "true"` on the resource, or '
            "leave them to their owner by removing them from the program or naming them in `ignore_changes`.",
        ]
    )


def _owner(message: str) -> str:
    """The manager in the server's `conflict with "kubectl" using apps/v1 at …`."""
    _, _, rest = message.partition('"')
    name, _, how = rest.partition('"')
    return f'"{name}"{how}'.rstrip() if name else message
