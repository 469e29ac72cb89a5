"""Resources: the requests and limits of every container."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, View, amount
from policy.kinds import container_name, containers
from policy.model import rule

RESOURCES_PAGE = "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"


@rule(
    "requests-set",
    title="Containers request CPU and memory",
    why="Without requests the scheduler does not know what a pod needs, and a full node evicts it first.",
    source=f"{RESOURCES_PAGE}#requests-and-limits",
    remedy="Set `resources.requests.cpu` and `.memory` (`resources` in service.yaml).",
    of=containers,
)
def requests_set(container: View) -> Iterator[Problem]:
    for name in ("cpu", "memory"):
        yield from _amount_wanted(container, "requests", name)


@rule(
    "memory-limit",
    title="Containers have a memory limit, not below their request",
    why="A container with a memory leak takes all memory of the node, and the kernel then kills any process.",
    source=f"{RESOURCES_PAGE}#how-pods-with-resource-limits-are-run",
    remedy="Set `resources.limits.memory` to at least the request.",
    of=containers,
)
def memory_limit(container: View) -> Iterator[Problem]:
    yield from _amount_wanted(container, "limits", "memory")
    yield from _limit_below_request(container, "memory")


@rule(
    "ephemeral-storage",
    title="Containers request and limit ephemeral storage",
    why="Logs and scratch files fill the node's disk, and then every pod on it is evicted.",
    source=f"{RESOURCES_PAGE}#local-ephemeral-storage",
    remedy="Set `ephemeral-storage` in `resources.requests` and in `resources.limits`.",
    of=containers,
)
def ephemeral_storage(container: View) -> Iterator[Problem]:
    for side in ("requests", "limits"):
        yield from _amount_wanted(container, side, "ephemeral-storage")
    yield from _limit_below_request(container, "ephemeral-storage")


def _amount_wanted(container: View, side: str, name: str) -> Iterator[Problem]:
    quantity = container.at("resources", side, name)
    if not (amount(quantity) or 0) > 0:
        what = f"`resources.{side}.{name}`"
        yield quantity.problem(
            f"{container_name(container)} has {what} {quantity.shown()}; allowed: a quantity above zero"
        )


def _limit_below_request(container: View, name: str) -> Iterator[Problem]:
    request = container.at("resources", "requests", name)
    limit = container.at("resources", "limits", name)
    requested, most = amount(request), amount(limit)
    if requested is not None and most is not None and most < requested:
        yield limit.problem(
            f"{container_name(container)} has a limit of {limit.shown()} below its request of {request.shown()}; "
            "allowed: at least the request"
        )
