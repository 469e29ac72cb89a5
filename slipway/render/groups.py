"""Groups changes that are the same for many resources, so that 300 services read as one line. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from slipway.deploy.summary import ImageChange
from slipway.engine.stages import IMAGE_TYPE, KUBERNETES_PREFIX
from slipway.masking import UNKNOWN
from slipway.state.difference import ResourceChange
from slipway.state.fields import FieldChange

IMAGE_FIELD = "image"


def image_changes(changes: Iterable[ResourceChange]) -> tuple[ImageChange, ...]:
    """One for each container whose image changes, with the new tag of its service's build, if there is one."""
    changes = tuple(changes)
    tags = {change.service: tag for change in changes if (tag := _built_tag(change))}
    return tuple(
        ImageChange(change.resource, change.service, field.old or "", field.new or "", tags.get(change.service, ""))
        for change in sorted(changes, key=lambda change: change.resource.name)
        if change.resource.type.startswith(KUBERNETES_PREFIX)
        for field in change.fields
        if is_image(field)
    )


def is_image(field: FieldChange) -> bool:
    """Whether the field is a container's image."""
    return field.path.rsplit(".", 1)[-1] == IMAGE_FIELD and ".containers" in field.path


def _built_tag(change: ResourceChange) -> str:
    """The first new tag of an image that is rebuilt, without its repository."""
    if change.resource.type != IMAGE_TYPE:
        return ""
    tags = (field.new for field in change.fields if field.path.startswith("tags") and field.new not in (None, UNKNOWN))
    return next(((tag or "").rsplit("/", 1)[-1].partition(":")[2] for tag in tags), "")


SMALLEST_GROUP = 4
# At most this many different values are shown in one line.
FEW_VALUES = 3


@dataclass(frozen=True)
class ChangeGroup:
    """Resources of one kind with the same changed fields; a lone resource is a group of one.

    `fields` are those of the first resource; `varying` are the paths whose values differ between resources.
    """

    changes: tuple[ResourceChange, ...]
    fields: tuple[FieldChange, ...]
    varying: frozenset[str] = frozenset()

    def values(self, path: str) -> Counter[tuple[str | None, str | None]]:
        """The pairs of old and new value at `path` with the number of resources that have each, most frequent first."""
        fields = (field for change in self.changes for field in change.fields if field.path == path)
        counted = Counter((field.old, field.new) for field in fields)
        return Counter(dict(counted.most_common()))

    @property
    def first(self) -> ResourceChange:
        return self.changes[0]


def grouped(changes: Iterable[ResourceChange]) -> list[ChangeGroup]:
    """Groups in the order of the changes; fewer than SMALLEST_GROUP alike changes stay separate."""
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
    """Changes under their service's name, in order of names; changes of no service come first."""
    ordered = sorted(changes, key=lambda change: (change.service, change.resource.kind, change.resource.name))
    return [(service, list(group)) for service, group in groupby(ordered, key=lambda change: change.service)]
