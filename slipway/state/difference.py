"""What changed from one recorded state to another, resource by resource and field by field. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from slipway.engine.events import Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.masking import SECRET, masked
from slipway.state.checkpoint import ResourceState, Snapshot, objects
from slipway.state.content_names import stem, successors
from slipway.state.fields import FieldChange, StepDetails, field_changes, path_text
from slipway.state.renames import renames
from slipway.values import by_index_if_as_long, differences, has_encrypted, opened

# Deleting one of these deletes the data stored in it.
STATEFUL_KINDS = {"Namespace", "PersistentVolume", "PersistentVolumeClaim", "StatefulSet", "CustomResourceDefinition"}


class Operation(StrEnum):
    """What happens to a resource, in the order in which users should look at it."""

    REPLACE = "replace"
    DELETE = "delete"
    UPDATE = "update"
    CREATE = "create"


@dataclass(frozen=True)
class ResourceChange:
    """One resource that would change. `service` is the service that it belongs to, empty for none."""

    resource: Urn
    operation: Operation
    service: str = ""
    fields: tuple[FieldChange, ...] = ()
    deleted_first: bool = False
    """Whether a replacement deletes the old resource before the new one exists."""
    kept: bool = False
    """Whether a deletion only removes it from the state: the object itself stays (`retain_on_delete`)."""
    before: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The present inputs, secrets masked by `slipway.masking.masked`; empty for a created resource."""
    after: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The new inputs, masked likewise; empty for a deleted resource."""

    @property
    def is_build(self) -> bool:
        """Whether an image is built or rebuilt: nothing that runs is affected."""
        return self.resource.type == IMAGE_TYPE and self.operation is not Operation.DELETE

    @property
    def loses_data(self) -> bool:
        gone = self.operation is Operation.DELETE or (self.operation is Operation.REPLACE and self.deleted_first)
        return gone and not self.kept and self.resource.kind in STATEFUL_KINDS


MAY_HAVE_CHANGED = "(secret, may have changed)"


@dataclass(frozen=True)
class Difference:
    """`changes` sorted by service, those without one first. Without `secrets_compared` a secret may have changed."""

    changes: tuple[ResourceChange, ...]
    secrets_compared: bool

    def __bool__(self) -> bool:
        return bool(self.changes)


def difference(old: Snapshot, new: Snapshot) -> Difference:
    """The changes from `old` to `new`, best decrypted: every update encrypts a secret again, and it then differs."""
    before, after = objects(old), objects(new)
    compared = not any(has_encrypted(each.inputs) for each in (*before.values(), *after.values()))
    renamed = {**{old: new for new, old in renames(after, before).items()}, **renames(before, after)}
    came = {**successors(before, after), **renamed}
    pairs = {urn: came.get(urn, urn) for urn in before if came.get(urn, urn) in after}
    there = set(pairs.values())
    changes = [
        *_all(Operation.DELETE, (each for urn, each in before.items() if urn not in pairs)),
        *_all(Operation.CREATE, (each for urn, each in after.items() if urn not in there)),
        *(_updated(before[then], after[now], compared) for then, now in pairs.items()),
    ]
    found = [change for change in changes if change.fields or change.operation is not Operation.UPDATE]
    return Difference(tuple(sorted(found, key=_order)), compared)


def _order(change: ResourceChange) -> tuple[str, str, str]:
    return change.service, change.resource.kind, change.resource.name


def _all(operation: Operation, those: Iterable[ResourceState]) -> Iterator[ResourceChange]:
    side = "before" if operation is Operation.DELETE else "after"
    for each in those:
        change = ResourceChange(Urn(each.urn), operation, each.service)
        yield replace(change, **{side: masked(each.inputs, each.type)})


def _updated(old: ResourceState, new: ResourceState, compared: bool) -> ResourceChange:
    fields = (*_renamed(old, new), *(_fields(old, new, compared) if old.inputs != new.inputs else ()))
    change = ResourceChange(Urn(new.urn), Operation.UPDATE, new.service, fields)
    if not fields:
        return change
    return replace(change, before=masked(old.inputs, old.type), after=masked(new.inputs, new.type))


def _renamed(old: ResourceState, new: ResourceState) -> tuple[FieldChange, ...]:
    """The change in its URN: of the name, or of the parent."""
    if stem(old.urn) == stem(new.urn):
        return ()
    key = "name" if old.name != new.name else "parent"
    was, now = (each.name if key == "name" else each.parent.rsplit("::", 1)[-1] for each in (old, new))
    return (FieldChange(f"({key} in Pulumi)", "update", was, now),)


def _fields(old: ResourceState, new: ResourceState, compared: bool) -> tuple[FieldChange, ...]:
    """The changed fields. If the masked values are equal, a secret differs: the change is shown, not its values."""
    found = differences(_opened(old), _opened(new), lists=by_index_if_as_long)
    differing = dict.fromkeys(path_text(each.path) for each in found)
    detailed = {path: {"diffKind": "update", "inputDiff": True} for path in differing}
    fields = field_changes(StepDetails(old.type, old.inputs, new.inputs, {}, detailed))
    return fields if compared else tuple(map(_unsure, fields))


def _unsure(field: FieldChange) -> FieldChange:
    return replace(field, new=MAY_HAVE_CHANGED) if field.old == field.new == SECRET else field


def _opened(resource: ResourceState) -> Any:
    """Its inputs as plain values, or unchanged if they are encrypted."""
    return resource.inputs if has_encrypted(resource.inputs) else opened(resource.inputs)
