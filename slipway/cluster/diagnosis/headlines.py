"""The sentence that says what is wrong."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.cluster.diagnosis import pods
from slipway.cluster.diagnosis.model import Cause, Finding, container_spec
from slipway.cluster.diagnosis.objects import Object, object_at, objects_at, text_at
from slipway.masking import masked_text

_STATUS = re.compile(r"^HTTP probe failed with statuscode: (\d+)")


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
        probe = {Cause.LIVENESS: "Liveness", Cause.STARTUP: "Startup"}.get(self.finding.cause, "Readiness")
        return pods.question(self.pod, self.finding.container, probe)

    @property
    def startup_seconds(self) -> int:
        probe = object_at(self.container, "startupProbe")
        return int(probe.get("periodSeconds") or 10) * int(probe.get("failureThreshold") or 3)


_KINDS = {
    "secret": "Secret",
    "configmap": "ConfigMap",
    "serviceaccount": "ServiceAccount",
    "persistentvolumeclaim": "PersistentVolumeClaim",
}


def exit_words(code: int | None) -> str:
    """`exit code 1`; above 128, the signal too: `exit code 139 (SIGSEGV)`."""
    if code is None:
        return ""
    try:
        return f"exit code {code} ({signal.Signals(code - 128).name})" if code > 128 else f"exit code {code}"
    except ValueError:
        return f"exit code {code}"


def headline(case: Case) -> str:
    """One sentence: what is wrong with the service."""
    other = f"{case.other_container} of " if case.other_container else ""
    return f"{other}{case.subject or case.service} {_SENTENCES[case.finding.cause](case)}"


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
    Cause.ENTRYPOINT: lambda case: f"cannot be started: its command{_quoted(case.command)} cannot be run",
    Cause.LIVENESS: _probe("is restarted, because its liveness probe fails"),
    Cause.STARTUP: _startup,
    Cause.READINESS: _probe("runs, but does not become ready"),
    Cause.IMAGE_INVALID: lambda case: f"has an invalid image name: {case.image}",
    Cause.IMAGE_NOT_FOUND: lambda case: f"has an image that its registry does not have: {case.image}",
    Cause.IMAGE_REFUSED: lambda case: f"has an image that its registry refuses to serve: {case.image}",
    Cause.REGISTRY_UNREACHABLE: lambda case: f"has an image that cannot be pulled: {case.image}",
    Cause.MISSING_OBJECT: lambda case: f"needs {_missing(case.finding.reason)}, which its namespace does not have",
    Cause.CONTAINER_CONFIG: lambda _: "has a container that cannot be created",
    Cause.VOLUME: lambda _: "has a pod that cannot be set up on its node",
    Cause.RESOURCES: lambda case: f"has no node with room for it{_requested(case.container)}",
    Cause.PLACEMENT: lambda _: "has no node that its placement rules allow",
    Cause.QUOTA: lambda _: "gets no more pods: the namespace's quota is used up",
    Cause.ADMISSION: lambda _: "gets no pods: the API server refuses them",
    Cause.EVICTED: lambda case: f"was evicted from its node ({case.finding.state})",
    Cause.PAUSED: lambda _: "is paused: its Deployment does not roll out until it is resumed",
    Cause.DEADLINE: lambda _: "was stopped: it exceeded its deadline",
    Cause.JOB_FAILED: lambda _: "failed",
    Cause.STARTING: lambda _: "is still starting; no problem was found",
}


def _quoted(command: str) -> str:
    return f" `{command}`" if command else ""


def _missing(reason: str) -> str:
    if found := re.search(r"key (\S+) in (\S+) [^/\s]+/(\S+)", reason):
        return f"the key {found[1]} of {found[2]} {found[3]}"
    found = re.search(r'(secret|configmap|serviceaccount|persistentvolumeclaim) "([^"]*)" not found', reason, re.I)
    return f"{_KINDS[found[1].lower()]} {found[2]}" if found else "something"


def _requested(container: Object) -> str:
    requests = object_at(container, "resources", "requests")
    text = ", ".join(f"{name} {requests[name]}" for name in ("cpu", "memory") if name in requests)
    return f": each pod asks for {text}" if text else ""
