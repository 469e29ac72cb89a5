"""The labels by which people, policies and other objects identify an object."""

from __future__ import annotations

import pulumi

# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"


def object_labels(name: str) -> dict[str, str]:
    """The labels of every object of this project; `name` is its owner, such as a service."""
    return {
        NAME_LABEL: name,
        "app.kubernetes.io/part-of": pulumi.get_project(),
        "app.kubernetes.io/managed-by": "pulumi",
    }
