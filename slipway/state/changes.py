"""What happens to one resource between two states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from slipway.engine.events import Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.state.fields import FieldChange

# Deleting one of these deletes what is stored in it.
STATEFUL_KINDS = {"Namespace", "PersistentVolume", "PersistentVolumeClaim", "StatefulSet", "CustomResourceDefinition"}


class Operation(StrEnum):
    """What happens to a resource, in the order in which a person should look at it."""

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
    """A replacement that deletes the old one before the new one is there."""
    kept: bool = False
    """A deletion that leaves the state only: the thing itself stays (`retain_on_delete`)."""
    before: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The inputs that it has, secrets masked as `slipway.masking.masked` does; empty for what is created."""
    after: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The inputs that it will have, likewise; empty for what is deleted."""

    @property
    def is_build(self) -> bool:
        """An image that is built anew, which is no change of anything that runs."""
        return self.resource.type == IMAGE_TYPE and self.operation is not Operation.DELETE

    @property
    def loses_data(self) -> bool:
        gone = self.operation is Operation.DELETE or (self.operation is Operation.REPLACE and self.deleted_first)
        return gone and not self.kept and self.resource.kind in STATEFUL_KINDS
