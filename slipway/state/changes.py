"""What happens to one resource between two states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from slipway.engine.events import Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.state.fields import FieldChange

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
