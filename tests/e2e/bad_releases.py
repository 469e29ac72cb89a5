"""Bad releases of a real service, and how `slipway up` is to end with one: what the tests of both files share."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from slipway.cluster.diagnosis.diagnose import MAX_LINES

DOCKERFILE = "services/user_service/Dockerfile"
CMD = 'CMD ["python", "-m", "gunicorn"]'
FAR_SECONDS = 240
Setting = Callable[[Any], AbstractContextManager[None]]


@dataclass
class Failed:
    """How a failing `slipway up` ended: what it said of the failure, and after that of the rollback."""

    code: int
    output: str
    error: str
    rollback: str
    wait_seconds: float


def failing_up(project: Any) -> Failed:
    result = project.slipway("up", "-s", "e2e", "--yes")
    output, _, rollback = result.output.partition("\nGoing back to #")
    error = "error: " + output.rsplit("\nerror: ", 1)[-1]
    waited = re.search(r"Roll out user-service: failed after ([\d.]+) s", output)
    return Failed(result.code, result.output, error, rollback, float(waited[1]) if waited else 0.0)


@contextmanager
def edited(project: Any, file: str, old: str, new: str) -> Iterator[None]:
    project.replace(file, old, new)
    try:
        yield
    finally:
        project.replace(file, new, old)


def overrides(deadline_seconds: int = FAR_SECONDS, ready_seconds: int = 0, **more: Any) -> str:
    spec = {"rollout": {"progressDeadlineSeconds": deadline_seconds, "minReadySeconds": ready_seconds}, **more}
    return f"  slipway:services: {json.dumps({'user-service': spec})}\n"


def command(*words: str) -> Setting:
    return lambda project: edited(project, DOCKERFILE, CMD, f"CMD {json.dumps(words)}")


def python(code: str) -> Setting:
    return command("python", "-c", code)


def program(file: str, old: str, new: str) -> Setting:
    return lambda project: edited(project, file, old, new)


def unchanged(_project: Any) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def quota(project: Any) -> Iterator[None]:
    core: Any = client.CoreV1Api(project.api())  # takes plain objects too, though its types do not say so
    core.create_namespaced_resource_quota(
        project.namespace, {"metadata": {"name": "team"}, "spec": {"hard": {"limits.memory": "300Mi"}}}
    )
    try:
        yield
    finally:
        core.delete_namespaced_resource_quota("team", project.namespace)


@contextmanager
def admission_policy(project: Any) -> Iterator[None]:
    """A rule of the cluster's own, bound to this namespace alone."""
    admission: Any
    admission, name = client.AdmissionregistrationV1Api(project.api()), f"no-pods-{project.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    denied = {"expression": "false", "message": "no ship leaves the harbour today"}
    admission.create_validating_admission_policy(
        {
            "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [denied], "failurePolicy": "Fail"},
        }
    )
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": project.namespace}}}
    admission.create_validating_admission_policy_binding(
        {
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here},
        }
    )
    time.sleep(2)  # the API server takes a moment to learn of it
    try:
        yield
    finally:
        admission.delete_validating_admission_policy_binding(name)
        admission.delete_validating_admission_policy(name)


def one_screen(failed: Failed, words: list[str]) -> None:
    flat = " ".join(failed.error.split())
    assert failed.code == 4, failed.output
    assert failed.error.startswith("error: The update of stack e2e failed."), failed.output
    assert [word for word in words if word not in flat] == [], failed.output
    assert len(failed.error.splitlines()) <= MAX_LINES + 3, failed.error
    own_words = [line for line in failed.output.splitlines() if not line.lstrip().startswith("| ")]
    assert "Traceback" not in "\n".join(own_words)
    assert "nterrupted" not in failed.output, "an update that was given up was not interrupted by anybody"
    same = re.search(r"rolled back to #\d+: (\d+)/(\d+) recorded inputs are the same, 2 checks met", failed.rollback)
    assert same, failed.output
    assert same[1] == same[2] != "0", failed.output
