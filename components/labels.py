"""The labels by which people, policies and other objects know an object."""

from __future__ import annotations

import pulumi

# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"


def object_labels(name: str) -> dict[str, str]:
    """What every object of this project has; `name` is what it belongs to, such as a service."""
    return {
        NAME_LABEL: name,
        "app.kubernetes.io/part-of": pulumi.get_project(),
        "app.kubernetes.io/managed-by": "pulumi",
    }
