"""Whether a service works: its probes, and the checks that every update asks once all rollouts are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pulumi
from pulumi_kubernetes import core

from components.blocking import in_thread
from services.spec import Check, Health
from slipway.cluster.checks import Ask, failing
from slipway.cluster.client import Cluster, ClusterError
from slipway.engine.messages import checks_failed

PROBE_TIMEOUT_SECONDS = 3
SERVICES_WITH_LOG = 2
FAILURE_SHOWN = 500
LINE_SHOWN = 160
LOG_LINES_SHOWN = 8


# https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
def startup_probe(health: Health, port_name: str) -> core.v1.ProbeArgsDict:
    """Asked every second, so that a rollout ends as soon as it can."""
    return _probe(health.startup, port_name, period_seconds=1, failure_threshold=health.startup_timeout_seconds)


def liveness_probe(health: Health, port_name: str) -> core.v1.ProbeArgsDict:
    """The most patient one: a restart under load makes the load of the others worse."""
    return _probe(health.live, port_name, period_seconds=10, failure_threshold=6)


def readiness_probe(health: Health, port_name: str) -> core.v1.ProbeArgsDict:
    """Takes a pod out of the Service after 15 seconds of failing, and back in at its first success."""
    return _probe(health.ready, port_name, period_seconds=5, failure_threshold=3)


def _probe(path: str, port_name: str, *, period_seconds: int, failure_threshold: int) -> core.v1.ProbeArgsDict:
    return {
        "http_get": {"path": path, "port": port_name},
        "period_seconds": period_seconds,
        "timeout_seconds": PROBE_TIMEOUT_SECONDS,
        "failure_threshold": failure_threshold,
    }


def checks_annotation(checks: Sequence[Check]) -> str:
    """The checks as they are recorded on the Deployment, so that a replayed state is verified by its own checks."""
    return json.dumps([check.recorded() for check in checks], separators=(",", ":"))


def _with_logs(failures: Sequence[str], recent_logs: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Each failure, `service: what`, and after the last of a service its log; one screen, so of few services alone."""
    services = [failure.partition(":")[0] for failure in failures]
    shown = list(dict.fromkeys(services))[:SERVICES_WITH_LOG]
    for index, (service, failure) in enumerate(zip(services, failures, strict=True)):
        yield failure[:FAILURE_SHOWN]
        if service in shown and service not in services[index + 1 :] and (lines := recent_logs(service)):
            yield f"  log {service}:"
            yield from (f"    | {line[:LINE_SHOWN]}" for line in lines)


def verified(
    deployments: Iterable[pulumi.Output[object]],
    checks: Mapping[str, Sequence[Check]],
    ask: Callable[[], Ask],
    timeout_seconds: int,
    *,
    next_step: str,
    recent_logs: Callable[[str], Sequence[str]] = lambda _: (),
) -> pulumi.Output[int]:
    """Resolves to the number of checks once all `deployments` are rolled out and all `checks` are met.

    Asked at the end of every update, whether or not it changed anything: an after-hook of a resource that failed is
    not asked again by the next update. Raises RunError, which fails the update; a preview asks nothing. `recent_logs`
    gives the last log lines of a service whose checks fail.
    """
    total = sum(len(wanted) for wanted in checks.values())

    async def verify(_: object) -> int:
        if pulumi.runtime.is_dry_run():
            return total
        try:
            failures = await in_thread(lambda: failing(checks, ask(), timeout_seconds))
        except ClusterError as error:
            raise pulumi.RunError(f"The checks cannot be asked: {error}") from error
        if failures:
            lines = await in_thread(lambda: list(_with_logs(failures, recent_logs)))
            listed = "\n  ".join(lines)
            raise pulumi.RunError(f"{checks_failed(len(failures), total)}\n  {listed}\n{next_step}")
        return total

    return pulumi.Output.all(*deployments).apply(verify)


def recent_logs(context: str | None, namespace: str) -> Callable[[str], Sequence[str]]:
    """A function that gives the last lines that a service printed, and where that fails, why; it never raises."""

    def read(service: str) -> Sequence[str]:
        try:
            return Cluster.connect(context).log(namespace, service, LOG_LINES_SHOWN)
        except ClusterError as error:
            return [f"(its log cannot be read: {error})"]

    return read
