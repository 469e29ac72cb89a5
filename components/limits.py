"""What an environment may use: a ResourceQuota and a LimitRange in its namespace, where its settings say so."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_kubernetes import core, meta

from components.environment import Environment
from components.labels import object_labels
from components.settings import LimitRangeItem

NAME = "environment"
"""Of both objects in the cluster."""


def declare_limits(environment: Environment) -> list[pulumi.Output[Any]]:
    """What is there once both are: a pod that comes earlier would have no defaults, and count for nothing."""
    settings, stack = environment.settings, pulumi.get_stack()
    options = pulumi.ResourceOptions(parent=environment, provider=environment.kubernetes)
    metadata: meta.v1.ObjectMetaArgsDict = {
        "name": NAME,
        "namespace": environment.namespace,
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
    """With what it says alone: an empty mapping would be drift, as the API server keeps none."""
    amounts = {
        "default": item.default,
        "default_request": item.default_request,
        "max": item.max,
        "min": item.min,
        "max_limit_request_ratio": item.max_limit_request_ratio,
    }
    return {"type": item.type, **{name: amount for name, amount in amounts.items() if amount}}
