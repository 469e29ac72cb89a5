"""Puts changes together that are the same thing done to many resources, so that 300 services read as one line. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from slipway.field_changes import FieldChange
from slipway.summary import ResourceChange

SMALLEST_GROUP = 4


@dataclass(frozen=True)
class ChangeGroup:
    """Resources of one kind of which the same fields change; a lone resource is a group of one.

    `fields` are those of the first resource; `varying` are the paths whose values differ from one to another.
    """

    changes: tuple[ResourceChange, ...]
    fields: tuple[FieldChange, ...]
    varying: frozenset[str] = frozenset()

    @property
    def first(self) -> ResourceChange:
        return self.changes[0]

    def names(self) -> list[str]:
        return [change.resource.name for change in self.changes]


def grouped(changes: Iterable[ResourceChange]) -> list[ChangeGroup]:
    """In the order of the changes; fewer than SMALLEST_GROUP alike stay on their own."""
    groups: dict[object, list[ResourceChange]] = {}
    for change in changes:
        groups.setdefault(_likeness(change), []).append(change)
    found: list[ChangeGroup] = []
    for alike in groups.values():
        if len(alike) >= SMALLEST_GROUP:
            found.append(_group(alike))
        else:
            found += [ChangeGroup((change,), change.fields) for change in alike]
    return found


def _likeness(change: ResourceChange) -> object:
    fields = tuple((field.path, field.kind, field.replaces) for field in change.fields)
    return change.operation, change.resource.type, change.deleted_first, change.kept, fields


def _group(alike: list[ResourceChange]) -> ChangeGroup:
    fields = alike[0].fields
    varying = frozenset(
        field.path
        for index, field in enumerate(fields)
        if len({(change.fields[index].old, change.fields[index].new) for change in alike}) > 1
    )
    return ChangeGroup(tuple(alike), fields, varying)


def by_service(changes: Iterable[ResourceChange]) -> list[tuple[str, list[ResourceChange]]]:
    """Changes under their service's name, in order of names; what belongs to no service comes first."""
    ordered = sorted(changes, key=lambda change: (change.service, change.resource.kind, change.resource.name))
    return [(service, list(group)) for service, group in groupby(ordered, key=lambda change: change.service)]
