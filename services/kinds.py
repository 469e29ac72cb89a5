"""Keys that a service's kind of workload does not use, or that it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from services.spec import ServiceSpec
from services.workloads import Kind

_NO_PORT = "has no port and no Service, unlike `kind: Service`"
_UNUSED: Mapping[Kind, Mapping[str, str]] = {
    "Worker": {
        "port": _NO_PORT,
        "ports": _NO_PORT,
        "checks": "gets no HTTP requests: its probes are in `health`",
        "service": _NO_PORT,
        "ingress": _NO_PORT,
    },
    "CronJob": {
        "port": _NO_PORT,
        "ports": _NO_PORT,
        "replicas": "starts Jobs on its schedule and has no running pods in between",
        "autoscaling": "has no running pods to scale",
        "health": "runs Jobs, and their exit codes say whether it works",
        "checks": "gets no HTTP requests: the exit codes of its Jobs say whether it works",
        "rollout": "has no rollout: its next Job is started from the new image",
        "service": _NO_PORT,
        "ingress": _NO_PORT,
    },
}


def kind_problems(kind: Kind, given: Collection[str], spec: ServiceSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys of a service that its kind does not use, or that it lacks, each with what to do; `given` are the keys that
    are written for it.
    """
    if kind == "CronJob" and spec.cron_job is None:
        yield ("kind",), "a CronJob needs `cronJob` with a schedule, as in `cronJob: {schedule: '30 2 * * *'}`"
    if kind != "CronJob" and spec.cron_job is not None:
        yield ("cronJob",), f"`cronJob` needs `kind: CronJob`, and this is a {kind}; change one of the two"
    for key, reason in _UNUSED.get(kind, {}).items():
        if key in given:
            yield (key,), f"a {kind} {reason}; remove `{key}`"
    if kind == "Worker":
        asked = [name for name, probe in spec.health.probes(kind).items() if probe.needs_port]
        for path in dict.fromkeys(("health", name) if getattr(spec.health, name) else ("health",) for name in asked):
            yield path, "a Worker has no port of its own to probe; give the probe a `port`, or use `exec`"
