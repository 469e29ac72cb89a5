"""The images that a recorded object runs. Pure."""

from __future__ import annotations

from typing import Any

from slipway.state.checkpoint import ResourceState
from slipway.values import opened

# Where each kind has the specification of its pods, below its own.
_PODS: dict[str, tuple[str, ...]] = {
    "kubernetes:core/v1:Pod": (),
    "kubernetes:apps/v1:Deployment": ("template", "spec"),
    "kubernetes:apps/v1:StatefulSet": ("template", "spec"),
    "kubernetes:apps/v1:DaemonSet": ("template", "spec"),
    "kubernetes:batch/v1:Job": ("template", "spec"),
    "kubernetes:batch/v1:CronJob": ("jobTemplate", "spec", "template", "spec"),
}


def images_of(resource: ResourceState) -> list[str]:
    """The images of its containers, init containers first; none of what runs no pods."""
    if resource.type not in _PODS:
        return []
    found: Any = opened(resource.inputs)
    for key in ("spec", *_PODS[resource.type]):
        found = found.get(key) or {}
    return [
        each["image"] for key in ("initContainers", "containers") for each in found.get(key) or () if "image" in each
    ]
