"""The `pulumi.com/…` annotations a resource may carry, read from its inputs."""

from __future__ import annotations

from typing import Any

from lab.plugins.kubernetes.values import UNKNOWN, Object, mapping_at

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
HELM_HOOK = "helm.sh/hook"


def value(inputs: Object, key: str) -> str:
    """An annotation's text, or an empty string."""
    found = mapping_at(inputs, "metadata", "annotations").get(key)
    return found if isinstance(found, str) else ""


def is_true(inputs: Object, key: str) -> bool:
    return value(inputs, key) == "true"


def mark(inputs: Object, key: str) -> None:
    """Set an annotation to `true`, unless a preview cannot know the annotations."""
    metadata: Any = inputs.get("metadata")
    if metadata is UNKNOWN or metadata.get("annotations") is UNKNOWN:
        return
    metadata["annotations"] = {**(metadata.get("annotations") or {}), key: "true"}


def timeout_seconds(inputs: Object, requested_seconds: float) -> float | None:
    """How long to wait at most: `customTimeouts` of the resource, else the annotation, else nothing is said."""
    if requested_seconds:
        return requested_seconds
    try:
        return float(int(value(inputs, TIMEOUT_SECONDS)))
    except ValueError:
        return None


def propagation_policy(inputs: Object) -> str | None:
    """The deletion's propagation policy as the API spells it, or `None` where none is asked for."""
    asked = value(inputs, DELETION_PROPAGATION).lower()
    return {"orphan": "Orphan", "background": "Background", "foreground": "Foreground"}.get(asked)
