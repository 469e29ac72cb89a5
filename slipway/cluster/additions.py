"""Removes what was added by hand to an object of the state: an apply reverts declared fields and leaves others.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.cluster.client import Cluster
from slipway.cluster.collections import object_path
from slipway.cluster.deployed import Deployed, cluster_errors, metadata
from slipway.cluster.drift import Drift, item_key, kind_of, name_of
from slipway.engine.events import Urn
from slipway.values import is_secret

Pointer = tuple[str, ...]
KEPT = {("metadata", "finalizers"), ("metadata", "ownerReferences")}
"""Their writer wants to act before the object is deleted, or to delete it with another."""


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

    Raises SlipwayError if the cluster refuses. Objects that are in no state stay.
    """
    changed = []
    with cluster_errors():
        for resource in deployed.objects():
            live, inputs = found.live.get(resource.urn), found.inputs.get(resource.urn)
            if live is None or inputs is None or not (added := list(additions(resource.inputs, inputs, live))):
                continue
            namespace = str(metadata(resource).get("namespace", ""))
            _patch(
                deployed.cluster, object_path(deployed.cluster, kind_of(resource), namespace, name_of(resource)), added
            )
            changed.append(str(Urn(resource.urn)))
    return changed


def _patch(cluster: Cluster, path: str | None, added: Sequence[Addition]) -> None:
    if path:
        cluster.patch(path, [operation for each in added for operation in each.operations()])


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
        yield from _of_list(declared, found, live, pointer)


def _of_list(declared: list[Any], found: list[Any], live: list[Any], pointer: Pointer) -> Iterator[Addition]:
    """From its end, so that the indexes of earlier items stay the same."""
    if not (key := item_key(found, live)):
        added = [each for each in found if each not in declared] if len(found) > len(declared) else []
        yield from (
            Addition((*pointer, str(at)), each) for at, each in reversed(list(enumerate(live))) if each in added
        )
        return
    known, present = ({item.get(key): item for item in items} for items in (declared, found))
    for at, item in reversed(list(enumerate(live))):
        name = item[key]
        if name in known and name in present:
            yield from additions(known[name], present[name], item, (*pointer, str(at)))
        elif name in present:
            yield Addition((*pointer, str(at)), item)
