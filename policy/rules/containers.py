"""Containers: their requests and limits, their probes, and how they stop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from policy.declaration import Problem, Resource, View, all_known, amount, any_known, known_matches
from policy.kinds import (
    DEFAULT_PROGRESS_DEADLINE_SECONDS,
    container_name,
    containers,
    main_containers,
    objects,
    pods,
    serving_containers,
    serving_pod_specs,
)
from policy.model import ADVISED_IN_DEV, Family, Rule, rule

RESOURCES = Family("Resources")
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


PROBES_AND_SHUTDOWN = Family("Probes and shutdown")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
COMPONENT_LABEL, WORKER = "app.kubernetes.io/component", "worker"
HANDLERS = ("httpGet", "tcpSocket", "grpc", "exec")
PROBES_PAGE = "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/"
LIFECYCLE_PAGE = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"
HANDLER_DEFAULTS = {"path": "/", "scheme": "HTTP"}
DEFAULT_PERIOD_SECONDS = 10
DEFAULT_TIMEOUT_SECONDS = 1
DEFAULT_FAILURES = 3
DEFAULT_GRACE_SECONDS = 30


def _served_containers(resource: Resource) -> list[View]:
    """Containers that get requests, so not those of a worker."""
    return [] if any(label.value == WORKER for label in _kinds(resource)) else serving_containers(resource)


def _worker_containers(resource: Resource) -> list[View]:
    """Containers of a worker; if it is not known whether it is one, the unknown value itself."""
    unknown = [label for label in _kinds(resource) if label.unknown]
    is_worker = any(label.value == WORKER for label in _kinds(resource))
    return unknown or (serving_containers(resource) if is_worker else [])


def _kinds(resource: Resource) -> list[View]:
    """The label that identifies the pods of a service of `kind: Worker`, which no Service leads to."""
    return [pod.at("metadata", "labels", COMPONENT_LABEL) for pod in pods(resource)]


def _presence(probe: str, id: str, title: str, why: str) -> Rule:
    """One rule for each of the three probes: they fail for different reasons and are waived separately."""

    @rule(
        id,
        title=title,
        why=why,
        source=PROBES_PAGE,
        remedy=f"Give the container a `{probe}` (`health` in service.yaml).",
        of=_served_containers,
    )
    def check(container: View) -> Iterator[Problem]:
        found = container.at(probe)
        if not any(found.at(handler).present for handler in HANDLERS):
            met = f"a `{probe}` without a handler" if found.present else f"no `{probe}`"
            yield found.problem(f"{container_name(container)} has {met}; allowed: one with {', '.join(HANDLERS)}")

    return check


startup_probe = _presence(
    "startupProbe",
    "startup-probe",
    "Containers have a startup probe",
    "Without it the liveness probe must allow for the slowest start, and detects a hang late.",
)
readiness_probe = _presence(
    "readinessProbe",
    "readiness-probe",
    "Containers have a readiness probe",
    "Without it a pod gets requests before it can answer them, and a rollout continues although its pods do not work.",
)
liveness_probe = _presence(
    "livenessProbe",
    "liveness-probe",
    "Containers have a liveness probe",
    "Without it a process that hangs is never restarted.",
)


@rule(
    "worker-liveness",
    title="Workers have a liveness probe",
    why="A worker gets no requests, so a hang has no symptom: without the probe it is never restarted.",
    source=PROBES_PAGE,
    remedy="Declare a liveness probe: `health: {live: {exec: [...]}}` in service.yaml.",
    of=_worker_containers,
    levels=ADVISED_IN_DEV,
)
def worker_liveness(container: View) -> Iterator[Problem]:
    found = container.at("livenessProbe")
    if not any(found.at(handler).present for handler in HANDLERS):
        yield found.problem(
            f"{container_name(container)} has no `livenessProbe`; allowed: one with {', '.join(HANDLERS)}"
        )


@rule(
    "liveness-differs",
    title="The liveness probe differs from the readiness probe",
    why="Equal probes fail together: a container that is only busy is restarted.",
    source=f"{PROBES_PAGE}#define-readiness-probes; kube-score: pod-probes",
    remedy="Probe another path, or let liveness fail later than readiness (periodSeconds times failureThreshold).",
    of=serving_containers,
)
def liveness_differs(container: View) -> Iterator[Problem]:
    live, ready = container.at("livenessProbe"), container.at("readinessProbe")
    handlers = [(live.at(each), ready.at(each)) for each in HANDLERS]
    declared = [pair for pair in handlers if pair[0].present or pair[1].present]
    same = bool(declared) and all_known(partial(_ask_the_same, container, *pair) for pair in declared)
    if same and _patience_seconds(live) <= _patience_seconds(ready):
        yield live.problem(
            f"{container_name(container)} has the same handler for liveness and readiness; liveness fails after "
            f"{_patience_seconds(live):g} s, readiness after {_patience_seconds(ready):g} s; "
            "allowed: another handler, or a later failure of liveness"
        )


def _ask_the_same(container: View, one: View, other: View) -> bool:
    """Whether two handlers of one kind ask the same, however written."""
    port = one.at("port"), other.at("port")
    return all_known(
        (
            lambda: one.present and other.present,
            lambda: _without_defaults(one) == _without_defaults(other),
            lambda: port[0].read() == port[1].read() or _number(container, port[0]) == _number(container, port[1]),
        )
    )


def _without_defaults(handler: View) -> dict[str, Any]:
    """All fields but the port. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe"""
    given = {key: value.known() for key, value in handler.entries().items() if key != "port"}
    return {key: value for key, value in given.items() if value not in (None, "", [], HANDLER_DEFAULTS.get(key))}


def _number(container: View, port: View) -> str:
    """The number of a port that may be given by its name."""
    ports = container.at("ports").items() if port.text() else []
    named = known_matches(ports, lambda each: each.at("name").read() == port.read())
    return str(named[0].at("containerPort").read() if named else port.read())


def _patience_seconds(probe: View) -> float:
    return _seconds(probe, "periodSeconds", DEFAULT_PERIOD_SECONDS) * _seconds(
        probe, "failureThreshold", DEFAULT_FAILURES
    )


def _seconds(view: View, key: str, default: float) -> float:
    value = view.at(key).number()
    return default if value is None else value


@rule(
    "probe-port",
    title="Probes use a port of the container",
    why="A probe of a port that does not exist always fails, and no rollout completes.",
    source=f"{PROBES_PAGE}#use-a-named-port",
    remedy="Name a port of the container's `ports`, or declare the number there.",
    of=serving_containers,
)
def probe_port(container: View) -> Iterator[Problem]:
    for probe in PROBES:
        for handler in ("httpGet", "tcpSocket", "grpc"):
            port = container.at(probe, handler, "port")
            if container.at(probe, handler).present and not _has_port(container, port):
                ports = container.at("ports").items()
                shown = [f"`{each.at('name').value}` ({each.at('containerPort').value})" for each in ports]
                allowed = ", ".join(shown) or "the container declares none in `ports`"
                yield port.problem(
                    f"`{probe}` of {container_name(container)} uses port {port.shown()}; allowed: {allowed}"
                )


def _has_port(container: View, probed: View) -> bool:
    number_or_name = probed.read()
    names_and_numbers = [port.at(key) for port in container.at("ports").items() for key in ("name", "containerPort")]
    # A number may be written as text.
    return number_or_name is not None and any_known(
        names_and_numbers, lambda each: str(each.read()) == str(number_or_name)
    )


@rule(
    "probe-timings",
    title="The timeout of a probe is not longer than its period",
    why="A readiness or liveness probe with a longer timeout puts constant load on a slow container.",
    source=f"{PROBES_PAGE}#configure-probes",
    remedy="Set timeoutSeconds to at most periodSeconds, and the seconds and thresholds to 1 or more.",
    of=serving_containers,
)
def probe_timings(container: View) -> Iterator[Problem]:
    for name in PROBES:
        probe = container.at(name)
        for key in ("periodSeconds", "timeoutSeconds", "failureThreshold"):
            if _seconds(probe, key, 1) < 1:
                yield probe.at(key).problem(f"`{name}` has {key} {probe.at(key).shown()}; allowed: 1 or more")
        timeout = _seconds(probe, "timeoutSeconds", DEFAULT_TIMEOUT_SECONDS)
        period = _seconds(probe, "periodSeconds", DEFAULT_PERIOD_SECONDS)
        # A startup probe may ask every second, for speed: the kubelet asks again only after an answer.
        if name != "startupProbe" and timeout > period:
            yield probe.at("timeoutSeconds").problem(
                f"`{name}` has a timeout of {timeout:g} s and a period of {period:g} s; allowed: at most the period"
            )


@rule(
    "startup-within-deadline",
    title="A container's time to start is less than the rollout's deadline",
    why="Otherwise the rollout fails while the pod may still start, and reports the wrong cause.",
    source="https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds",
    remedy="Raise rollout.progressDeadlineSeconds, or lower health.startupTimeoutSeconds.",
    of=objects("Deployment"),
    levels=ADVISED_IN_DEV,
)
def startup_within_deadline(deployment: View) -> Iterator[Problem]:
    deadline = _seconds(deployment.at("spec"), "progressDeadlineSeconds", DEFAULT_PROGRESS_DEADLINE_SECONDS)
    for container in serving_containers(deployment.resource):
        probe = container.at("startupProbe")
        if probe.present and _patience_seconds(probe) >= deadline:
            yield probe.problem(
                f"{container_name(container)} may take {_patience_seconds(probe):g} s to start; "
                f"allowed: less than progressDeadlineSeconds, {deadline:g} s"
            )


@rule(
    "pre-stop",
    title="Containers wait before they stop",
    why="Load balancers send requests to a terminating pod for some seconds; if it stops at once, they fail.",
    source=f"{LIFECYCLE_PAGE}#pod-termination",
    remedy="Give the container a `lifecycle.preStop`, such as `sleep: {seconds: 5}`.",
    of=main_containers,
)
def pre_stop(container: View) -> Iterator[Problem]:
    hook = container.at("lifecycle", "preStop")
    if not any(hook.at(handler).present for handler in ("sleep", "exec", "httpGet")):
        yield hook.problem(
            f"{container_name(container)} has no `lifecycle.preStop`; allowed: one with sleep, exec or httpGet"
        )


@rule(
    "termination-grace",
    title="The grace period is longer than the preStop wait",
    why="The grace period includes preStop: open requests have only the rest of it to finish.",
    source=f"{LIFECYCLE_PAGE}#hook-handler-execution",
    remedy="Set terminationGracePeriodSeconds to more than the preStop sleep.",
    of=serving_pod_specs,
)
def termination_grace(spec: View) -> Iterator[Problem]:
    grace = _seconds(spec, "terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    slept = [_seconds(each.at("lifecycle", "preStop", "sleep"), "seconds", 0) for each in spec.at("containers").items()]
    longest = max(slept, default=0)
    if grace <= longest:
        yield spec.at("terminationGracePeriodSeconds").problem(
            f"the grace period is {grace:g} s and preStop sleeps {longest:g} s; allowed: a longer grace period"
        )
