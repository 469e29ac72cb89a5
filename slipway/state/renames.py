"""Finds the resources that have different names in two states. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.engine.events import STACK_TYPE
from slipway.state.checkpoint import ResourceState


def renames(then: Mapping[str, ResourceState], now: Mapping[str, ResourceState]) -> dict[str, str]:
    """The URN in `now` of each resource in `then` that was renamed since and has another URN there.

    It is recognized by the aliases that the engine recorded, or because it is the same object. As two resources, it
    would be created again under one name, and the delete of the other name would then delete it.
    """
    gone = [each for urn, each in now.items() if urn not in then]
    by_thing = {(each.type, each.id): each.urn for each in gone if each.is_object and each.id}
    by_alias = {str(alias): each.urn for each in gone for alias in each.raw.get("aliases") or ()}
    found: dict[str, str] = {}
    for urn, each in then.items():
        if urn not in now and each.type != STACK_TYPE:
            present = by_alias.get(urn) or by_thing.get((each.type, each.id))
            if present:
                found[urn] = present
    return found
