"""The limits of an environment: a ResourceQuota and a LimitRange in its namespace, if its settings have them."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_kubernetes import core, meta

from components.environment import Environment
from components.kubernetes_defaults import object_labels
from components.settings import LimitRangeItem

NAME = "environment"
"""The name of both objects in the cluster."""


def declare_limits(environment: Environment) -> list[pulumi.Output[Any]]:
    """Outputs that resolve once both exist: a pod created earlier would have no defaults, and would not be counted."""
    settings, stack = environment.settings, pulumi.get_stack()
    options = pulumi.ResourceOptions(parent=environment, provider=environment.kubernetes)
    metadata: meta.v1.ObjectMetaArgsDict = {
        "name": NAME,
        "namespace": environment.after_builds(environment.namespace),
        "labels": object_labels(NAME),
    }
    declared: list[pulumi.CustomResource] = []
    if settings.resource_quota:
        declared.append(
            core.v1.ResourceQuota(
                stack,
                metadata=metadata,
                spec={"hard": settings.resource_quota.hard},
                opts=options,
            )
        )
    if settings.limit_range:
        declared.append(
            core.v1.LimitRange(
                stack,
                metadata=metadata,
                spec={"limits": [_item(each) for each in settings.limit_range.limits]},
                opts=options,
            )
        )
    return [each.id for each in declared]


def _item(item: LimitRangeItem) -> core.v1.LimitRangeItemArgsDict:
    """Only the fields that are set: an empty mapping would be drift, because the API server drops it."""
    amounts = {
        "default": item.default,
        "default_request": item.default_request,
        "max": item.max,
        "min": item.min,
        "max_limit_request_ratio": item.max_limit_request_ratio,
    }
    return {"type": item.type, **{name: amount for name, amount in amounts.items() if amount}}
