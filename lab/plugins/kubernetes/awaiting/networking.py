"""Readiness of Services and Ingresses."""

from __future__ import annotations

from collections.abc import Iterator

from lab.plugins.kubernetes.awaiting import pods
from lab.plugins.kubernetes.awaiting.readiness import (
    DONE,
    Readiness,
    Sight,
    condition,
    failed,
    labels_of,
    reason_of,
    waiting,
)
from lab.plugins.kubernetes.naming import qualified_name
from lab.plugins.kubernetes.values import Object, int_at, list_at, mapping_at, text_at

POD_ROLE = "pods"
SLICE_ROLE = "endpointslices"
WORKLOAD_ROLES = ("deployments", "statefulsets")
SERVICE_ROLE = "services"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# As long as the official plugin lets endpoints settle: a Service that selects no pod at all is then taken as meant so.
SETTLE_SECONDS = 10.0

_NO_PODS = (
    "Service does not target any Pods. Selected Pods may not be ready, or field '.spec.selector' may not match labels "
    "on any Pods"
)


def service(sight: Sight) -> Readiness:
    """Ready when a load balancer has its address and all selected pods, at least one, are ready endpoints."""
    live = sight.live
    if text_at(live, "spec", "type") == "LoadBalancer" and not list_at(live, "status", "loadBalancer", "ingress"):
        return waiting(
            "[2/3] Attempting to allocate IP address to Service",
            "Service was not allocated an IP address; does your cloud provider support this?",
        )
    if not _directs_traffic(live):
        return DONE
    ready, pending = _endpoints(sight)
    if ready and not pending:
        return DONE
    if lost := _lost(sight):
        return failed(f"Service {qualified_name(live)!r} will get no endpoints", _NO_PODS, *lost)
    if not ready and not pending and (_scaled_to_zero(sight) or sight.age("no endpoints") >= SETTLE_SECONDS):
        return DONE
    count = f" ({ready} ready, {pending} not ready)" if ready or pending else ""
    return waiting(f"[1/3] Finding Pods to direct traffic to{count}", *([] if ready else [_NO_PODS]))


def _directs_traffic(live: Object) -> bool:
    """Whether the Service gets endpoints from a selector; headless and external ones are ready as they are."""
    return (
        bool(mapping_at(live, "spec", "selector"))
        and text_at(live, "spec", "clusterIP") != "None"
        and text_at(live, "spec", "type") != "ExternalName"
    )


def _endpoints(sight: Sight) -> tuple[int, int]:
    """How many endpoints are ready, and how many are not; terminating ones count as neither."""
    ready = pending = 0
    for endpoint in _slice_endpoints(sight, text_at(sight.live, "metadata", "name")):
        conditions = mapping_at(endpoint, "conditions")
        if conditions.get("terminating"):
            continue
        if conditions.get("ready", True):
            ready += 1
        else:
            pending += 1
    return ready, pending


def _slice_endpoints(sight: Sight, service_name: str) -> Iterator[Object]:
    for item in sight.of(SLICE_ROLE):
        if labels_of(item).get(SERVICE_NAME_LABEL) == service_name:
            yield from list_at(item, "endpoints")


def _lost(sight: Sight) -> list[str]:
    """Why the pods it selects will not become ready, or nothing: the Service need not wait longer than they do."""
    alive = [pod for pod in sight.of(POD_ROLE) if not text_at(pod, "metadata", "deletionTimestamp")]
    if pods.first_hopeless(alive, sight.age):
        return pods.problems(alive)
    workloads = [item for role in WORKLOAD_ROLES for item in sight.of(role)]
    late = [condition(item, "Progressing") for item in workloads]
    if late and all(item.get("reason") == "ProgressDeadlineExceeded" for item in late):
        return [*(reason_of(item) for item in late), *pods.problems(alive)]
    return []


def _scaled_to_zero(sight: Sight) -> bool:
    """Whether workloads that the Service selects exist, and all of them ask for no pods."""
    matching = [item for role in WORKLOAD_ROLES for item in sight.of(role)]
    return bool(matching) and all(int_at(item, "spec", "replicas", default=1) == 0 for item in matching)


def ingress(sight: Sight) -> Readiness:
    """Ready when it has an address and the Service of every path exists with endpoints, or is an external name."""
    missing = sorted(set(_backends(sight.live)) - _served(sight))
    if missing and sight.age("missing backends") < SETTLE_SECONDS:
        return waiting(
            "[1/3] Finding a matching service for each Ingress path",
            f"Ingress has at least one rule with an unavailable target endpoint: Service {', '.join(missing)}",
        )
    if list_at(sight.live, "status", "loadBalancer", "ingress"):
        return DONE
    return waiting(
        "[2/3] Waiting for update of .status.loadBalancer with hostname/IP",
        "Ingress .status.loadBalancer field was not updated with a hostname/IP address."
        " \n    for more information about this error, see https://pulumi.io/xdv72s",
    )


def _backends(live: Object) -> Iterator[str]:
    """The names of the Services the rules point to."""
    for rule in list_at(live, "spec", "rules"):
        for path in list_at(rule, "http", "paths"):
            name = text_at(path, "backend", "service", "name") or text_at(path, "backend", "serviceName")
            if name:
                yield name


def _served(sight: Sight) -> set[str]:
    external = {
        text_at(item, "metadata", "name")
        for item in sight.of(SERVICE_ROLE)
        if text_at(item, "spec", "type") == "ExternalName"
    }
    with_slices = {str(labels_of(item).get(SERVICE_NAME_LABEL)) for item in sight.of(SLICE_ROLE)}
    return external | with_slices
