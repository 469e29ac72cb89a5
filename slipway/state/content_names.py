"""Objects that are named by their content (`components.workload`): new content makes a new object. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

HASH = re.compile(r"-[0-9a-f]{8}$")
TYPES = (
    "kubernetes:core/v1:ConfigMap",
    "kubernetes:core/v1:Secret",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy",
)
CONTENT = ("data", "stringData", "binaryData", "spec")


def stem(urn: str) -> str:
    """The URN without the hash of the content; unchanged for any other resource."""
    return HASH.sub("", urn) if urn.split("::", 3)[2].endswith(TYPES) else urn


def is_named_by_content(urn: str) -> bool:
    return stem(urn) != urn


def successors(before: Collection[str], after: Collection[str]) -> dict[str, str]:
    """The URN of each object of `before` that is gone, with the URN of the object in `after` that replaced it.

    An object replaces at most one other: failed updates may leave several.
    """
    come = {stem(urn): urn for urn in after if urn not in before and stem(urn) != urn}
    gone = {stem(urn): urn for urn in before if urn not in after}
    return {urn: come[name] for name, urn in gone.items() if name in come}
