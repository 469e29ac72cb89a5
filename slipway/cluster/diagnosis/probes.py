"""The requests of the kubelet's probes and their answers, from a pod's events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from slipway.cluster.diagnosis.model import container_spec
from slipway.cluster.diagnosis.objects import (
    Object,
    event_time,
    first_event_time,
    number_at,
    object_at,
    text_at,
    time_at,
)

# The exit codes of a run that was asked to end: in order, or by the signal itself.
_STOPPED = (0, 137, 143)
_EPOCH = datetime.fromtimestamp(0, UTC)
_UNHEALTHY = re.compile(r"^(Readiness|Liveness|Startup) probe (?:failed|errored.*?): ?(.*)", re.DOTALL)
_KILLING = re.compile(r"^Container \S+ failed (liveness|startup) probe")
# The kubelet kills after the grace period; the runtime may report that a moment later.
_KILL_MARGIN = timedelta(seconds=10)
# Events and statuses give whole seconds.
_CLOCK_MARGIN = timedelta(seconds=2)


def last_answer(events: Iterable[Object], container: str, probe: str) -> str:
    """The newest answer that the `probe` (`Readiness`, `Liveness`, `Startup`) of a container got; empty for none."""
    newest, answer = _EPOCH, ""
    for event in events:
        match = _UNHEALTHY.match(text_at(event, "message"))
        if match and match[1] == probe and _is_about(event, container) and (event_time(event) or _EPOCH) >= newest:
            newest, answer = event_time(event) or _EPOCH, match[2].strip()
    return answer


def killed_by(events: Iterable[Object], pod: Object, container: str, ended: Object) -> str:
    """`Liveness` or `Startup` if the kubelet ended that run of a container because of its probe; else empty.

    If a probe has killed before, the exit code of a run that was asked to end is enough: the kubelet stops reporting
    each kill. One event stands for all kills of a probe, so the run may have ended long before the last.
    """
    finished = time_at(ended, "finishedAt")
    was_stopped = ended.get("exitCode") in _STOPPED and ended.get("reason") != "OOMKilled"
    grace = timedelta(seconds=number_at(pod, "spec", "terminationGracePeriodSeconds", default=30))
    for event in events:
        match, first, last = _KILLING.match(text_at(event, "message")), first_event_time(event), event_time(event)
        if not match or not _is_about(event, container):
            continue
        if was_stopped:
            return match[1].capitalize()
        if finished and first and last and first - _CLOCK_MARGIN <= finished <= last + grace + _KILL_MARGIN:
            return match[1].capitalize()
    return ""


def question(pod: Object, container: str, probe: str) -> str:
    """What a probe asks: `GET /readyz on port http`."""
    definition = object_at(container_spec(pod, container), f"{probe.lower()}Probe")
    if "httpGet" in definition:
        return f"GET {text_at(definition, 'httpGet', 'path') or '/'} on port {text_at(definition, 'httpGet', 'port')}"
    if "exec" in definition:
        return f"the command {' '.join(map(str, object_at(definition, 'exec').get('command') or ()))}"
    kind = "grpc" if "grpc" in definition else "tcpSocket"
    return f"a connection to port {text_at(definition, kind, 'port')}"


def _is_about(event: Object, container: str) -> bool:
    path = text_at(event, "involvedObject", "fieldPath")
    return not path or f"{{{container}}}" in path
