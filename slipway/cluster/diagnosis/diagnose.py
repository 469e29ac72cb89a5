"""From evidence to a diagnosis: the finding that explains most, how long it must be seen, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from slipway.cluster.diagnosis import advice, headlines, logs, pods
from slipway.cluster.diagnosis.model import Cause, Diagnosis, Evidence, Finding
from slipway.cluster.diagnosis.objects import Object, event_count, event_time, name_of, number_at, text_at
from slipway.masking import masked_text

EVENTS_KEPT = 3
# Messages that only repeat the pod's state.
_ECHOES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
_PROBED = (Cause.READINESS, Cause.LIVENESS, Cause.STARTUP, Cause.STARTING)
_DULL = ("BackOff",)
_COMBINED = "(combined from similar events): "

Kind = tuple[Cause, str, int | None]


def diagnose(evidence: Evidence, known: Finding | None = None) -> Diagnosis:
    """Why the rollout of `evidence.deployment` does not progress; `STARTING` if nothing is known to be wrong.

    `known` is the finding if no pod shows it.
    """
    found = [known] if known else [logs.refined(finding, evidence.logs) for finding in pods.findings(evidence)]
    main, same = _main(found)
    pod = next((each for each in evidence.current_pods() if name_of(each) == main.pod), {})
    case = headlines.Case(evidence.service, main, pod, evidence.kubectl, evidence.subject)
    return Diagnosis(
        service=case.service,
        namespace=text_at(evidence.deployment, "metadata", "namespace"),
        finding=replace(main, reason=masked_text(main.reason)),
        headline=headlines.headline(case),
        pods=tuple(finding.pod for finding in same if finding.pod),
        pods_wanted=number_at(evidence.deployment, "spec", "replicas", default=1),
        image=case.image,
        logs=logs.tails(evidence.logs, main),
        events=_events(evidence, main, pod),
        advice=advice.steps(case),
        commands=advice.commands(case),
        others=_others(found, same),
        patience_seconds=patience_seconds(main, len(same)),
    )


def is_complete(evidence: Evidence) -> bool:
    """Whether the newest template is rolled out: all its pods are available, and no others are left."""
    return bool(evidence.current_set()) and is_rolled_out(evidence.deployment)


def is_rolled_out(deployment: Object) -> bool:
    """The same from the Deployment's own status, as `kubectl rollout status` does it."""
    if number_at(deployment, "status", "observedGeneration") < number_at(deployment, "metadata", "generation"):
        return False
    replicas = number_at(deployment, "spec", "replicas", default=1)
    counts = [number_at(deployment, "status", key) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return all(count == replicas for count in counts)


def _kind(finding: Finding) -> Kind:
    return finding.cause, finding.container, finding.exit_code


def _main(found: Sequence[Finding]) -> tuple[Finding, list[Finding]]:
    """The finding that most pods share, a clear one before an unclear one; and all findings like it."""
    if not found:
        return Finding(Cause.STARTING, state="no pods yet"), []
    counts = Counter(map(_kind, found))

    def weight(finding: Finding) -> tuple[bool, bool, int, int]:
        certain = patience_seconds(finding) is not None
        return certain, finding.cause is not Cause.STARTING, counts[_kind(finding)], finding.ends

    main = max(found, key=weight)
    return main, [main, *(each for each in found if each is not main and _kind(each) == _kind(main))]


def _others(found: Sequence[Finding], same: Sequence[Finding]) -> tuple[str, ...]:
    counted = Counter(each.cause for each in found if each not in same)
    return tuple(f"{count} other{'s' if count > 1 else ''}: {cause}" for cause, count in counted.items())


def _events(evidence: Evidence, main: Finding, pod: Object) -> tuple[str, ...]:
    """Warnings about the pod, or about the creation of pods, newest first, without those that repeat the reason."""
    about = evidence.events_of(pod) if pod else evidence.events_of(evidence.current_set())
    lines: dict[str, str] = {}
    for event in sorted(about, key=lambda each: str(event_time(each) or ""), reverse=True):
        message = advice.unwrapped(text_at(event, "message").removeprefix(_COMBINED))
        if _is_news(event, message, main):
            times = f" ({event_count(event)} times)" if event_count(event) > 1 else ""
            lines.setdefault(message, f"{text_at(event, 'reason')}{times}: {masked_text(message)}")
    return tuple(lines.values())[:EVENTS_KEPT]


def _is_news(event: Object, message: str, main: Finding) -> bool:
    reason = text_at(event, "reason")
    if reason in _DULL or message in _ECHOES or (main.reason and main.reason in message and reason != "Unhealthy"):
        return False
    if reason == "Unhealthy" and main.cause not in _PROBED:
        return False  # a probe gets no answer if nothing runs
    # Refusals differ only in the names of pods that were never created.
    return (event.get("type") == "Warning" and bool(main.pod)) or message.endswith("will be restarted")


# Seconds without a break. Any other cause may recover by itself: the Deployment's own deadline decides.
_SECONDS: Mapping[Cause, float] = {
    Cause.DEADLINE: 0.0,
    Cause.JOB_FAILED: 0.0,
    Cause.IMAGE_INVALID: 0.0,
    Cause.ENTRYPOINT: 0.0,
    # A registry behind a cache may lag behind a push for a moment.
    Cause.IMAGE_NOT_FOUND: 3.0,
    Cause.IMAGE_REFUSED: 3.0,
    # The kubelet has asked three times by then.
    Cause.REGISTRY_UNREACHABLE: 30.0,
    # Another resource of the same update may be about to create it.
    Cause.MISSING_OBJECT: 5.0,
    Cause.CONTAINER_CONFIG: 5.0,
    Cause.ADMISSION: 5.0,
    # A pod of another service, deleted in the same update, releases the quota that it used.
    Cause.QUOTA: 12.0,
    # Only a person resumes it.
    Cause.PAUSED: 2.0,
    # A node autoscaler does not invent labels; if one is at work, it says so, and `may_mend` is set.
    Cause.PLACEMENT: 15.0,
    Cause.RESOURCES: 45.0,
}
# How often a container must have ended. A crash may come from a dependency that is about to start; if its log says so,
# the deadline decides. Memory and files do not come back by themselves.
_ENDS: Mapping[Cause, int] = {
    Cause.OUT_OF_MEMORY: 2,
    Cause.READ_ONLY: 2,
    Cause.PERMISSION: 2,
    Cause.CRASH: 3,
    Cause.ENDED: 3,
}
# Space on the node may be short for a moment; a pod that is evicted again and again exceeds its own limit.
_EVICTIONS = 2


def patience_seconds(finding: Finding, same: int = 1) -> float | None:
    """Seconds that `finding` must last before giving up; `None` to wait on. `same` counts the pods that show it."""
    if finding.may_mend:
        return None
    if finding.cause is Cause.EVICTED:
        return 0.0 if same >= _EVICTIONS else None
    wanted_ends = _ENDS.get(finding.cause)
    if wanted_ends is not None:
        return 0.0 if finding.ends >= wanted_ends else None
    return _SECONDS.get(finding.cause)
