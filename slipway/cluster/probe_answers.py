"""A container's present answer to the path of its probe, requested like checks: through the port-forward."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from slipway.cluster.client import Cluster, ClusterError
from slipway.cluster.diagnosis.model import Cause, Evidence, Finding, container_spec
from slipway.cluster.diagnosis.objects import Object, event_time, name_of, object_at, objects_at, text_at, uid_of
from slipway.cluster.port_forward import PortForwards

TIMEOUT_SECONDS = 3.0
# Below it a probe succeeds. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe
FIRST_BAD_STATUS = 400
ASKED_CAUSES = (Cause.STARTUP, Cause.LIVENESS, Cause.READINESS, Cause.STARTING)


def probe_answer(cluster: Cluster, evidence: Evidence, finding: Finding) -> Object | None:
    """An event, as the kubelet would write it, about a probe of the finding's container that gets a bad answer now.

    `None` if the container does not run, its probe does not use HTTP, or it does not answer or answers well: then the
    kubelet's reports say more.
    """
    pod = next((each for each in evidence.current_pods() if name_of(each) == finding.pod), None)
    if pod is None:
        return None
    statuses = [*objects_at(pod, "status", "initContainerStatuses"), *objects_at(pod, "status", "containerStatuses")]
    status: Object = next((each for each in statuses if each.get("name") == finding.container), {})
    if "running" not in object_at(status, "state"):
        return None
    probe = finding.cause.name.capitalize()
    if finding.cause is Cause.STARTING or not status.get("started"):
        probe = "Readiness" if status.get("started") else "Startup"
    container = container_spec(pod, finding.container)
    asked = object_at(container, f"{probe.lower()}Probe", "httpGet")
    if not asked or asked.get("host") or asked.get("scheme") == "HTTPS":
        return None
    port: Any = asked.get("port")
    named = [int(each["containerPort"]) for each in objects_at(container, "ports") if each.get("name") == port]
    answered = 0
    with suppress(ClusterError, OSError):
        answered, _ = PortForwards(cluster.client).request(
            text_at(pod, "metadata", "namespace"),
            finding.pod,
            named[0] if named else int(port),
            method="GET",
            path=text_at(asked, "path") or "/",
            headers={"Host": "localhost", "User-Agent": "slipway", "Connection": "close"},
            body=None,
            timeout_seconds=TIMEOUT_SECONDS,
        )
    if answered < FIRST_BAD_STATUS:
        return None
    # Newer than the kubelet's reports, whatever this machine's clock says.
    reported = map(event_time, evidence.events_of(pod))
    return {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": f"{probe} probe failed: HTTP probe failed with statuscode: {answered}",
        "involvedObject": {"uid": uid_of(pod), "fieldPath": f"spec.containers{{{finding.container}}}"},
        "lastTimestamp": max([datetime.now(UTC), *filter(None, reported)]).isoformat(),
    }
