"""Which running images a preview would exchange, and for which. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.deploy.summary import ImageChange
from slipway.engine.stages import IMAGE_TYPE, KUBERNETES_PREFIX
from slipway.masking import UNKNOWN
from slipway.state.changes import ResourceChange
from slipway.state.fields import FieldChange

IMAGE_FIELD = "image"


def image_changes(changes: Iterable[ResourceChange]) -> tuple[ImageChange, ...]:
    """One for each container whose image changes, with the new tag of its service's build where there is one."""
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
    """The first new tag of an image that is built anew, without its repository."""
    if change.resource.type != IMAGE_TYPE:
        return ""
    tags = (field.new for field in change.fields if field.path.startswith("tags") and field.new not in (None, UNKNOWN))
    return next(((tag or "").rsplit("/", 1)[-1].partition(":")[2] for tag in tags), "")
