"""Jobs that fail on the lab, each in its own way, as the API server has them once they have failed."""

from __future__ import annotations

import json
import time
from typing import Any

from slipway.cluster.diagnosis.model import has_failed, is_done, is_owned_by, name_of, text_at, uid_of
from tests.recording.diagnosis import RESOURCES, recent_logs
from tests.recording.workspace import CHECKOUT, RecordingError, Workspace, workspace

RECORDINGS = CHECKOUT / "tests/slipway/cluster/recorded_jobs"
NAMESPACE = "jobs-capture"
TIMEOUT_SECONDS = 120
POLL_SECONDS = 2.0
COMMANDS = {
    "crash": ["python3", "-c", "print('adding column vat'); raise SystemExit(3)"],
    "hanging": ["python3", "-uc", "import time; print('waiting for a lock'); time.sleep(300)"],
    "not-in-image": ["/no/such/program"],
    "done": ["python3", "-c", "print('added')"],
    "no-image": ["true"],
}


def record() -> None:
    with workspace(NAMESPACE, Workspace) as made:
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}
        jobs = [manifest(name, f"{made.base_image}{'-no' if name == 'no-image' else ''}") for name in COMMANDS]
        made.kubectl("apply", "-f", "-", text=json.dumps(namespace))
        made.kubectl("-n", NAMESPACE, "apply", "-f", "-", text=_as_list(jobs))
        left, began = set(COMMANDS), time.monotonic()
        while left:
            if time.monotonic() - began > TIMEOUT_SECONDS:
                raise RecordingError(f"not ended within {TIMEOUT_SECONDS} s: {', '.join(sorted(left))}")
            time.sleep(POLL_SECONDS)
            items = json.loads(made.kubectl("-n", NAMESPACE, "get", "jobs,pods,events", "-o", "json"))["items"]
            for job in (each for each in items if each["kind"] == "Job" and name_of(each) in left):
                pods = [each for each in items if each["kind"] == "Pod" and is_owned_by(each, job)]
                pulled = "ImagePullBackOff" in json.dumps([each["status"] for each in pods])
                if has_failed(job) or is_done(job) or (name_of(job) == "no-image" and pulled):
                    _write(made, job, pods, items)
                    left.remove(name_of(job))


def manifest(name: str, image: str) -> dict[str, Any]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "web",
        "image": image,
        "command": COMMANDS[name],
        "resources": RESOURCES,
        "securityContext": security,
    }
    pod = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 10 if name == "hanging" else 60,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    labels = {"slipway.dev/migration": "web"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 120, "template": {"spec": pod}},
    }


def _write(made: Workspace, job: dict[str, Any], pods: list[dict[str, Any]], items: list[dict[str, Any]]) -> None:
    uids = {uid_of(each) for each in (job, *pods)}
    events = [each for each in items if text_at(each, "involvedObject", "uid") in uids]
    logs = list(recent_logs(made, {"pods": pods}))
    for item in (job, *pods, *events):
        item["metadata"].pop("managedFields", None)
        item["metadata"].get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    for pod in pods:
        for key in ("hostIP", "hostIPs"):
            pod["status"].pop(key, None)
    found = {"job": job, "pods": pods, "events": events, "logs": logs}
    RECORDINGS.mkdir(exist_ok=True)
    (RECORDINGS / f"{name_of(job)}.json").write_text(made.masked(json.dumps(found, indent=1, sort_keys=True) + "\n"))


def _as_list(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
