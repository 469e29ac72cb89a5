"""The images that a recorded object runs. Pure."""

from __future__ import annotations

from typing import Any

from slipway.state.checkpoint import ResourceState
from slipway.values import opened

# Where each kind has its pod template.
_TEMPLATES = {
    "kubernetes:apps/v1:Deployment": (),
    "kubernetes:batch/v1:Job": (),
    "kubernetes:batch/v1:CronJob": ("jobTemplate", "spec"),
}


def images_of(resource: ResourceState) -> list[str]:
    """The images of its containers, init containers first; none of what runs no pods."""
    if resource.type not in _TEMPLATES:
        return []
    found: Any = opened(resource.inputs)
    for key in ("spec", *_TEMPLATES[resource.type], "template", "spec"):
        found = found.get(key) or {}
    return [
        each["image"] for key in ("initContainers", "containers") for each in found.get(key) or () if "image" in each
    ]
