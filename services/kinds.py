"""Keys that a service's kind of workload does not use, or that it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from services.spec import ServiceSpec
from services.workloads import Kind

_NO_PORT = "has no port and no Service, as `kind: Service` has"
_UNUSED: Mapping[Kind, Mapping[str, str]] = {
    "Worker": {
        "port": _NO_PORT,
        "ports": _NO_PORT,
        "checks": "can be asked nothing over HTTP: `health` says how it is known to work",
        "service": _NO_PORT,
        "ingress": _NO_PORT,
    },
    "CronJob": {
        "port": _NO_PORT,
        "ports": _NO_PORT,
        "replicas": "starts a Job at the times of its schedule and keeps no pods",
        "autoscaling": "keeps no pods that could be scaled",
        "health": "ends by itself, and its exit code says whether it worked",
        "checks": "can be asked nothing over HTTP: the exit codes of its Jobs say whether it works",
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
        yield ("cronJob",), f"`cronJob` goes with `kind: CronJob`, and this is a {kind}; take one of the two out"
    for key, reason in _UNUSED.get(kind, {}).items():
        if key in given:
            yield (key,), f"a {kind} {reason}; take `{key}` out"
    if kind == "Worker":
        asked = [name for name, probe in spec.health.probes(kind).items() if probe.needs_port]
        for path in dict.fromkeys(("health", name) if getattr(spec.health, name) else ("health",) for name in asked):
            yield path, "a Worker has no port of its own that could be asked; give the probe a `port`, or use `exec`"
