"""What messages of registries and runtimes mean, and what is said about each cause: headline, advice, commands."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.cluster.diagnosis.model import Cause, Finding, Object, container_spec, object_at, objects_at, text_at
from slipway.masking import masked_text

_STATUS = re.compile(r"^HTTP probe failed with statuscode: (\d+)")
_NOT_FOUND_OBJECT = re.compile(r'(?i)(secret|configmap|serviceaccount|persistentvolumeclaim) "([^"]*)" not found')
_KINDS = {
    "secret": "Secret",
    "configmap": "ConfigMap",
    "serviceaccount": "ServiceAccount",
    "persistentvolumeclaim": "PersistentVolumeClaim",
}
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


@dataclass(frozen=True)
class Case:
    """A finding with the data for its words: the Deployment's name, its pod, and how `kubectl` reaches it.

    `subject` is the sentence's subject if that is a Job of the service, not its Deployment.
    """

    service: str
    finding: Finding
    pod: Object
    kubectl: str
    subject: str = ""

    @property
    def is_job(self) -> bool:
        return self.subject not in ("", self.service)

    @property
    def container(self) -> Object:
        first = next(iter(objects_at(self.pod, "spec", "containers")), {})
        return container_spec(self.pod, self.finding.container) or first

    @property
    def other_container(self) -> str:
        """`sidecar proxy` or `init container wait`, if the finding is about one; empty for the service's own."""
        names = [text_at(each, "name") for each in objects_at(self.pod, "spec", "initContainers")]
        if self.finding.container not in names:
            return ""
        kind = "sidecar" if self.container.get("restartPolicy") == "Always" else "init container"
        return f"{kind} {self.finding.container}"

    @property
    def image(self) -> str:
        return text_at(self.container, "image")

    @property
    def memory_limit(self) -> str:
        return text_at(self.container, "resources", "limits", "memory")

    @property
    def command(self) -> str:
        """The command that the pod sets instead of the image's own; empty if it sets none."""
        words = [*(self.container.get("command") or ()), *(self.container.get("args") or ())]
        return masked_text(" ".join(map(str, words)))

    @property
    def question(self) -> str:
        """What the probe asks: `GET /readyz on port http`."""
        probe = {Cause.LIVENESS: "liveness", Cause.STARTUP: "startup"}.get(self.finding.cause, "readiness")
        definition = object_at(container_spec(self.pod, self.finding.container), f"{probe}Probe")
        if "httpGet" in definition:
            path, port = (text_at(definition, "httpGet", key) for key in ("path", "port"))
            return f"GET {path or '/'} on port {port}"
        if "exec" in definition:
            return f"the command {' '.join(map(str, object_at(definition, 'exec').get('command') or ()))}"
        kind = "grpc" if "grpc" in definition else "tcpSocket"
        return f"a connection to port {text_at(definition, kind, 'port')}"

    @property
    def startup_seconds(self) -> int:
        probe = object_at(self.container, "startupProbe")
        return int(probe.get("periodSeconds") or 10) * int(probe.get("failureThreshold") or 3)


def headline(case: Case) -> str:
    """One sentence: what is wrong with the service."""
    other = f"{case.other_container} of " if case.other_container else ""
    return f"{other}{case.subject or case.service} {_SENTENCES[case.finding.cause](case)}"


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


def exit_words(code: int | None) -> str:
    """`exit code 1`; above 128, the signal too: `exit code 139 (SIGSEGV)`."""
    if code is None:
        return ""
    try:
        return f"exit code {code} ({signal.Signals(code - 128).name})" if code > 128 else f"exit code {code}"
    except ValueError:
        return f"exit code {code}"


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


def _entrypoint(case: Case) -> str:
    command = f" `{case.command}`" if case.command else ""
    return f"cannot be started: its command{command} cannot be run"


def _missing_object(case: Case) -> str:
    what = "something"
    if found := re.search(r"key (\S+) in (\S+) [^/\s]+/(\S+)", case.finding.reason):
        what = f"the key {found[1]} of {found[2]} {found[3]}"
    elif found := _NOT_FOUND_OBJECT.search(case.finding.reason):
        what = f"{_KINDS[found[1].lower()]} {found[2]}"
    return f"needs {what}, which its namespace does not have"


def _resources(case: Case) -> str:
    requests = object_at(case.container, "resources", "requests")
    text = ", ".join(f"{name} {requests[name]}" for name in ("cpu", "memory") if name in requests)
    return f"has no node with room for it{f': each pod asks for {text}' if text else ''}"


def _crash(case: Case) -> str:
    if case.is_job:
        return f"failed: its container ended with {exit_words(case.finding.exit_code)}"
    times = f" ({case.finding.ends} times so far)" if case.finding.ends > 1 else ""
    return f"crashes: its container ends with {exit_words(case.finding.exit_code)}{times}"


def _memory(case: Case) -> str:
    limit = case.memory_limit or "its node's"
    if case.finding.state == "OOMKilled" or "OOM" in case.finding.reason:
        return f"runs out of memory: the kernel killed it at its limit of {limit}"
    if case.finding.exit_code is None:
        return f"runs out of memory under its limit of {limit}"
    return f"was killed with SIGKILL (exit code 137), most likely at its memory limit of {limit}"


def _probe(verb: str) -> Callable[[Case], str]:
    def sentence(case: Case) -> str:
        if status := _STATUS.match(case.finding.reason):
            return f"{verb}: {case.question} answers {status[1]}"
        return f"{verb}: {case.question} got no good answer"

    return sentence


def _startup(case: Case) -> str:
    if status := _STATUS.match(case.finding.reason):
        return f"does not pass its startup probe: {case.question} answers {status[1]}"
    over = "" if not case.finding.ends else f", and is restarted after {case.startup_seconds} s"
    return f"is too slow to start: {case.question} does not answer{over}"


_SENTENCES: Mapping[Cause, Callable[[Case], str]] = {
    Cause.CRASH: _crash,
    Cause.ENDED: lambda _: "ends by itself with exit code 0; a service has to keep running",
    Cause.OUT_OF_MEMORY: _memory,
    Cause.READ_ONLY: lambda _: "crashes: it writes to a read-only file system",
    Cause.PERMISSION: lambda _: "crashes: permission denied",
    Cause.ENTRYPOINT: _entrypoint,
    Cause.LIVENESS: _probe("is restarted, because its liveness probe fails"),
    Cause.STARTUP: _startup,
    Cause.READINESS: _probe("runs, but does not become ready"),
    Cause.IMAGE_INVALID: lambda case: f"has an invalid image name: {case.image}",
    Cause.IMAGE_NOT_FOUND: lambda case: f"has an image that its registry does not have: {case.image}",
    Cause.IMAGE_REFUSED: lambda case: f"has an image that its registry refuses to serve: {case.image}",
    Cause.REGISTRY_UNREACHABLE: lambda case: f"has an image that cannot be pulled: {case.image}",
    Cause.MISSING_OBJECT: _missing_object,
    Cause.CONTAINER_CONFIG: lambda _: "has a container that cannot be created",
    Cause.VOLUME: lambda _: "has a pod that cannot be set up on its node",
    Cause.RESOURCES: _resources,
    Cause.PLACEMENT: lambda _: "has no node that its placement rules allow",
    Cause.QUOTA: lambda _: "gets no more pods: the namespace's quota is used up",
    Cause.ADMISSION: lambda _: "gets no pods: the API server refuses them",
    Cause.EVICTED: lambda case: f"was evicted from its node ({case.finding.state})",
    Cause.PAUSED: lambda _: "is paused: its Deployment does not roll out until it is resumed",
    Cause.DEADLINE: lambda _: "was stopped: it exceeded its deadline",
    Cause.JOB_FAILED: lambda _: "failed",
    Cause.STARTING: lambda _: "is still starting; no problem was found",
}


@dataclass(frozen=True)
class Advice:
    """Templates with `_names`; `{kubectl}` is for the namespace, `kubectl` alone for the cluster."""

    steps: tuple[str, ...]
    commands: tuple[str, ...] = ()


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
