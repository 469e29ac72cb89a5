"""What messages of registries, runtimes and admission mean, and what to do: sentences, and commands to copy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.cluster.diagnosis.headlines import Case
from slipway.cluster.diagnosis.model import Cause
from slipway.cluster.diagnosis.objects import objects_at

_REFUSED = re.compile(
    r"(?i)unauthorized|authentication required|authorization failed|access denied|requested access to the resource"
    r"|no basic auth|\b401\b|\b403\b|forbidden"
)
_NOT_FOUND = re.compile(r"(?i)not ?found|manifest unknown|name unknown|does not exist|no match for platform")
# Text that runc, crun and containerd put around the actual reason.
_WRAPPING = re.compile(
    r"rpc error: code = \w+ desc = |failed to pull and unpack image \"[^\"]*\": |"
    r"failed to resolve reference \"[^\"]*\": "
    r"|failed to resolve image: |Back-off pulling image \"[^\"]*\"(?:: )?|ErrImagePull: "
    r"|failed to (?:create|start) containerd task: |failed to create shim task: "
    r"|failed to create containerd container: "
    r"|OCI runtime create failed: |OCI runtime error: |runc create failed: |unable to start container process: "
    r"|Error creating: |Error: "
)
_ENTRYPOINT = re.compile(r"(?i)executable file not found|no such file or directory|exec: |exec format error|stat /")
_MISSING = re.compile(
    r"(?i)(?:secret|configmap|serviceaccount|persistentvolumeclaim) \"[^\"]*\" not found|couldn't find key"
    r"|non-existent (?:secret|config) key|references non-existent"
)
# The kubelet has not heard from the API server yet.
_PASSING = re.compile(r"failed to sync (?:configmap|secret) cache")
_QUOTA = re.compile(r"(?i)exceeded quota|failed quota|insufficient quota")
_FORBIDDEN_OBJECT = re.compile(r'^pods "[^"]*" is forbidden: ')


def unwrapped(message: str) -> str:
    """The message without the prefixes that the layers on its way have added."""
    return _FORBIDDEN_OBJECT.sub("", _WRAPPING.sub("", message)).strip()


def pull_cause(message: str) -> Cause:
    """Why an image was not pulled. Refusals first: a registry that hides existing images names both in one answer."""
    if _REFUSED.search(message):
        return Cause.IMAGE_REFUSED
    return Cause.IMAGE_NOT_FOUND if _NOT_FOUND.search(message) else Cause.REGISTRY_UNREACHABLE


def is_entrypoint(message: str) -> bool:
    """Whether a runtime could not start a container because of its command."""
    return bool(_ENTRYPOINT.search(message))


def is_missing_object(message: str) -> bool:
    return bool(_MISSING.search(message))


def is_passing(message: str) -> bool:
    """Whether it says nothing about the container, only about the moment."""
    return bool(_PASSING.search(message))


def refusal_cause(message: str) -> Cause:
    """Why the API server refused all pods."""
    if is_missing_object(message):
        return Cause.MISSING_OBJECT
    return Cause.QUOTA if _QUOTA.search(message) else Cause.ADMISSION


@dataclass(frozen=True)
class Advice:
    """Templates with `_names`; `{kubectl}` is for the namespace, `kubectl` alone for the cluster."""

    steps: tuple[str, ...]
    commands: tuple[str, ...] = ()


def steps(case: Case) -> tuple[str, ...]:
    """What to do next, most useful first."""
    found = tuple(step.format(**_names(case)) for step in _of(case).steps)
    if case.other_container:  # its probes have Kubernetes' own names in service.yaml
        for health, probe in _PROBES.items():
            found = tuple(step.replace(health, probe) for step in found)
    return found


def commands(case: Case) -> tuple[str, ...]:
    """Commands that show more."""
    return tuple(command.format(**_names(case)) for command in _of(case).commands)


def _of(case: Case) -> Advice:
    return (_JOB_ADVICE if case.is_job else {}).get(case.finding.cause) or _ADVICE[case.finding.cause]


def _names(case: Case) -> dict[str, str]:
    several = len(objects_at(case.pod, "spec", "containers")) + len(objects_at(case.pod, "spec", "initContainers")) > 1
    registry = case.image.partition("/")[0]
    return {
        "service": case.service,
        "yaml": f"service.yaml of {case.service}{f', {case.other_container}' if case.other_container else ''}",
        "kubectl": case.kubectl,
        "pod": case.finding.pod,
        "container": f" -c {case.finding.container}" if several and case.finding.container else "",
        "image": case.image,
        "registry": registry if "/" in case.image and any(mark in registry for mark in ".:") else "docker.io",
        "limit": case.memory_limit or "none",
        "startup": str(case.startup_seconds),
        # A pod of a Job is not restarted.
        "previous": "" if case.is_job else " --previous",
        "job": "migration" if case.subject == f"the migration of {case.service}" else "cronJob",
    }


_PROBES = {
    "health.startupTimeoutSeconds": "failureThreshold",
    "health.startup": "startupProbe",
    "health.live": "livenessProbe",
    "health.ready": "readinessProbe",
}
_LOGS = "{kubectl} logs {pod}{container}"
_PREVIOUS = "{kubectl} logs {pod}{container}{previous}"
_DESCRIBE = "{kubectl} describe pod {pod}"
_ADVICE: Mapping[Cause, Advice] = {
    Cause.CRASH: Advice(
        ("Fix the error at the log's end, in the source of {service} or in its `env` and `secrets`.",), (_PREVIOUS,)
    ),
    Cause.ENDED: Advice(("Let the command run in the foreground until it gets SIGTERM.",), (_PREVIOUS,)),
    Cause.OUT_OF_MEMORY: Advice(
        ("Raise `resources.memory` (now {limit}) in {yaml}, or let the service use less.",), (_PREVIOUS,)
    ),
    Cause.READ_ONLY: Advice(
        ("Name the folder under `scratch` in {yaml}, or write to /tmp, which is there already.",), (_PREVIOUS,)
    ),
    Cause.PERMISSION: Advice(
        ("Pods run as user 10001 without capabilities: let files belong to it, use ports above 1023.",), (_PREVIOUS,)
    ),
    Cause.ENTRYPOINT: Advice(
        ("Fix CMD or ENTRYPOINT in the Dockerfile: the program must be in the image and executable.",),
        ("docker run --rm {image}",),
    ),
    Cause.LIVENESS: Advice(
        ("Fix the endpoint, or `health.live` in {yaml}; it must answer without any other service.",),
        (_PREVIOUS,),
    ),
    Cause.STARTUP: Advice(
        (
            "Let it start sooner, raise `health.startupTimeoutSeconds` (now {startup}) in {yaml}, "
            "or fix `health.startup` there.",
        ),
        (_LOGS,),
    ),
    Cause.READINESS: Advice(("Fix the endpoint, its dependencies, or `health.ready` in {yaml}.",), (_LOGS,)),
    Cause.IMAGE_INVALID: Advice(("Fix `slipway:registry` of the stack: lower case, no scheme, no tag.",)),
    Cause.IMAGE_NOT_FOUND: Advice(
        ("Push it again by an update from the commit that built it.",),
        ("docker manifest inspect {image}",),
    ),
    Cause.IMAGE_REFUSED: Advice(
        (
            "Give the nodes access to {registry}, or name a Secret of the namespace in `slipway:imagePullSecrets`, "
            "or in `imagePullSecrets` of {yaml}.",
        ),
        ("{kubectl} create secret docker-registry NAME --docker-server={registry}",),
    ),
    Cause.REGISTRY_UNREACHABLE: Advice(("Make {registry} reachable from the nodes.",), (_DESCRIBE,)),
    Cause.MISSING_OBJECT: Advice(
        (
            "Create the object that `env`, `envFrom` or `volumes` of {yaml} names, or fix the name. "
            "If this stack's object was deleted by hand, update with `--refresh`.",
        ),
        ("{kubectl} get secrets,configmaps,serviceaccounts",),
    ),
    Cause.CONTAINER_CONFIG: Advice(("Fix the cause that the reason names.",), (_DESCRIBE,)),
    Cause.VOLUME: Advice(
        (
            "Fix the cause that the reason names. A claim needs a storage class that creates volumes, or a "
            "PersistentVolume that fits.",
        ),
        (_DESCRIBE, "{kubectl} get persistentvolumeclaims", "kubectl get storageclasses,persistentvolumes"),
    ),
    Cause.RESOURCES: Advice(("Lower `resources` or `replicas` in {yaml}, or add nodes.",), ("kubectl describe nodes",)),
    Cause.PLACEMENT: Advice(("Label, untaint or add a node that fits.",), ("kubectl get nodes --show-labels",)),
    Cause.QUOTA: Advice(
        (
            "Lower `resources` or `replicas` in {yaml}, or have the quota raised; "
            "a rollout needs one pod more than the service has.",
        ),
        ("{kubectl} describe resourcequota",),
    ),
    Cause.ADMISSION: Advice(
        ("Change the field that the refusal names, or change the rule.",),
        ("{kubectl} describe replicaset -l app.kubernetes.io/name={service}",),
    ),
    Cause.EVICTED: Advice(
        (
            "If the reason names storage, raise `resources.ephemeralStorage` or `scratch` in {yaml}, or write less; "
            "if memory, raise `resources.memory` there; otherwise check the node.",
        ),
        (_DESCRIBE, "kubectl describe nodes"),
    ),
    Cause.PAUSED: Advice(
        ("Resume it once the pause is not needed any more, then run the update again.",),
        ("{kubectl} rollout resume deployment/{service}",),
    ),
    Cause.DEADLINE: Advice(
        ("Raise `{job}.activeDeadlineSeconds` in {yaml}, or see in its log what it waits for.",), (_LOGS,)
    ),
    Cause.JOB_FAILED: Advice(("Run it again: its pods and their logs were deleted.",), ("{kubectl} get jobs",)),
    Cause.STARTING: Advice(
        ("Raise `rollout.progressDeadlineSeconds` in {yaml} if it is only slow.",), ("{kubectl} get pods -w",)
    ),
}
# Other advice for a Job, which is not expected to keep running.
_JOB_ADVICE: Mapping[Cause, Advice] = {
    Cause.ENTRYPOINT: Advice(
        ("Fix `command` in {yaml}: the program must be in the image and executable.",), ("docker run --rm {image}",)
    ),
    Cause.STARTING: Advice(("Raise `{job}.activeDeadlineSeconds` in {yaml} if it is only slow.",), (_LOGS,)),
}
