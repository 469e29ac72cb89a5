"""Whether a service works: its probes, and the checks that every update runs once all rollouts are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pulumi
from pulumi_kubernetes import core

from components.program import in_thread
from services.spec import Check, ServiceSpec
from services.workloads import Probe
from slipway.cluster.checks import Ask, failing
from slipway.cluster.client import Cluster, ClusterError
from slipway.engine.messages import checks_failed

PROBE_TIMEOUT_SECONDS = 3
SERVICES_WITH_LOG = 2
FAILURE_SHOWN = 500
LINE_SHOWN = 160
LOG_LINES_SHOWN = 8


# https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
def probes(spec: ServiceSpec, port_name: str) -> dict[str, core.v1.ProbeArgsDict]:
    """The probes of the service's container, by argument name; `port_name` is the name of its own port."""
    timings: dict[str, core.v1.ProbeArgsDict] = {
        # Asked every second, so that a rollout ends as soon as it can.
        "startup": {"period_seconds": 1, "failure_threshold": spec.health.startup_timeout_seconds},
        # The most patient one: a restart under load increases the load of the other pods.
        "live": {"period_seconds": 10, "failure_threshold": 6},
        # Takes a pod out of the Service after 15 seconds of failing, and back in at its first success.
        "ready": {"period_seconds": 5, "failure_threshold": 3},
    }
    names = {"startup": "startup_probe", "live": "liveness_probe", "ready": "readiness_probe"}
    return {
        names[name]: {
            **_question(probe, spec.port, port_name),
            "timeout_seconds": PROBE_TIMEOUT_SECONDS,
            **timings[name],
        }
        for name, probe in spec.health.probes(spec.kind).items()
    }


def _question(probe: Probe, port: int, port_name: str) -> core.v1.ProbeArgsDict:
    if probe.exec is not None:
        return {"exec_": {"command": probe.exec}}
    if probe.grpc:  # the only handler that accepts no port name
        service: dict[str, str] = {"service": probe.grpc.service} if probe.grpc.service else {}
        return {"grpc": {"port": probe.port or port, **service}}
    if probe.http_get:
        return {"http_get": {"path": probe.http_get.path, "port": probe.port or port_name}}
    return {"tcp_socket": {"port": probe.port or port_name}}


def checks_annotation(checks: Sequence[Check]) -> str:
    """The checks as recorded on the Deployment, so that a rollback verifies a state by its own checks."""
    return json.dumps([check.recorded() for check in checks], separators=(",", ":"))


def _with_logs(failures: Sequence[str], recent_logs: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Each failure, `service: what`, and after the last of a service its log; only of few services, to fit a screen."""
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
    """Resolves to the number of checks once all `deployments` are rolled out and all `checks` pass.

    The checks run at the end of every update, whether or not it changed anything: an after-hook of a failed resource
    does not run again in the next update. Raises RunError, which fails the update; a preview runs none. `recent_logs`
    returns the last log lines of a service whose checks fail.
    """
    total = sum(len(each) for each in checks.values())

    async def verify(_: object) -> int:
        if pulumi.runtime.is_dry_run():
            return total
        try:
            failures = await in_thread(lambda: failing(checks, ask(), timeout_seconds))
        except ClusterError as error:
            raise pulumi.RunError(f"The checks cannot run: {error}") from error
        if failures:
            lines = await in_thread(lambda: list(_with_logs(failures, recent_logs)))
            listed = "\n  ".join(lines)
            raise pulumi.RunError(f"{checks_failed(len(failures), total)}\n  {listed}\n{next_step}")
        return total

    return pulumi.Output.all(*deployments).apply(verify)


def recent_logs(context: str | None, namespace: str) -> Callable[[str], Sequence[str]]:
    """A function that returns the last log lines of a service, or why they cannot be read; it never raises."""

    def read(service: str) -> Sequence[str]:
        try:
            return Cluster.connect(context).log(namespace, service, LOG_LINES_SHOWN)
        except ClusterError as error:
            return [f"(its log cannot be read: {error})"]

    return read
