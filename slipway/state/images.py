"""The pods that a recorded object creates, and the images that they run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.state.checkpoint import HIDDEN, ResourceState
from slipway.values import Secret, mapped

CRON_JOB_TYPE = "kubernetes:batch/v1:CronJob"
POD_TYPE = "kubernetes:core/v1:Pod"


def pod_spec_of(resource: ResourceState) -> Mapping[str, Any]:
    """The `spec` of its pod template, or of the pod itself; empty if there is none. Encrypted values are hidden."""
    found: Any = mapped(resource.inputs.get("spec"), _readable)
    job = ("jobTemplate", "spec") if resource.type == CRON_JOB_TYPE else ()
    template = () if resource.type == POD_TYPE else ("template", "spec")
    for key in (*job, *template):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _readable(value: Any, _path: object) -> Any:
    if not isinstance(value, Secret):
        return value
    return HIDDEN if value.is_encrypted else value.value


def images_of(resource: ResourceState) -> list[str]:
    """The images of its containers, init containers first."""
    pod = pod_spec_of(resource)
    containers = [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]
    return [str(each["image"]) for each in containers if "image" in each]
