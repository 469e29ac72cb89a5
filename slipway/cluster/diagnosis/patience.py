"""How long a failure must be seen before the wait for the rollout ends; `docs/diagnosis.md` has the reasons."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.cluster.diagnosis.model import Cause, Finding

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
