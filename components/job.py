"""The pods of a Job: those of the service, run once to completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def job_spec(
    template: Mapping[str, Any], labels: Mapping[str, str], *, active_deadline_seconds: int, backoff_limit: int
) -> dict[str, Any]:
    """The `spec` of a Job whose pods have the Deployment's `template`, with other labels.

    A Job that exceeds its own deadline deletes its pods, and with them the log that says why. So the pods have the
    deadline too, and the Job has a minute more, for pods that never start.
    """
    pod = template["spec"]
    main, *sidecars = pod["containers"]
    # A container that runs to completion gets no requests: it needs no ports, probes or draining.
    asked = ("ports", "lifecycle", "startup_probe", "liveness_probe", "readiness_probe")
    return {
        "active_deadline_seconds": active_deadline_seconds + 60,
        "backoff_limit": backoff_limit,
        "template": {
            "metadata": {**template["metadata"], "labels": dict(labels)},
            "spec": {
                **{key: value for key, value in pod.items() if key != "topology_spread_constraints"},
                "restart_policy": "Never",
                "active_deadline_seconds": active_deadline_seconds,
                "containers": [{key: value for key, value in main.items() if key not in asked}, *sidecars],
            },
        },
    }
