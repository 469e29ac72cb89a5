"""Failing Deployments, as the API server has them: all of them fail on the lab at the same time.

None is derived from another. What no lab can show (a node that is shut down, a cluster with a node autoscaler, an
admission webhook) the tests make of these, each where it is tested.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from slipway.cluster.diagnosis.diagnose import LINES_READ
from slipway.cluster.diagnosis.model import is_owned_by, name_of, object_at, objects_at, text_at, time_at, uid_of
from tests.recording.workspace import CHECKOUT, RecordingError, Workspace, workspace

RECORDINGS = CHECKOUT / "tests/slipway/cluster/diagnosis/recorded"
NAMESPACE = "diagnosis-capture"
TIMEOUT_SECONDS = 900
POLL_SECONDS = 3.0
REFUSING_PORT = 5998

Content = dict[str, Any]
"""What is recorded of a failure: `deployment`, `replicaSets`, `pods`, `events`, `logs`."""

SETTING: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "present"}, "data": {"there": "1"}},
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"limits.memory": "8Gi"}},
    },
]
SMALL = {"memory": "32Mi", "ephemeral-storage": "8Mi"}
RESOURCES = {"requests": {"cpu": "5m", **SMALL}, "limits": SMALL}
SERVER = """import http.server as h
class H(h.BaseHTTPRequestHandler):
 def do_GET(s):
  s.send_response(200 if s.path=='/healthz' else 404); s.end_headers(); s.wfile.write(b'nothing here')
print('listening on 8080');h.HTTPServer(('',8080),H).serve_forever()"""
STORING = """import time
f=open('/tmp/x','wb')
for i in range(64): f.write(b'x'*1048576)
f.flush();time.sleep(300)"""


def statuses(content: Content) -> list[Any]:
    return [status for pod in content["pods"] for status in objects_at(pod, "status", "containerStatuses")]


def waits(reason: str) -> Callable[[Content], bool]:
    """All containers wait for that reason."""

    def holds(content: Content) -> bool:
        found = [text_at(status, "state", "waiting", "reason") for status in statuses(content)]
        return bool(found) and set(found) == {reason}

    return holds


def loops(content: Content) -> bool:
    """All containers wait for their next start after at least three restarts."""
    return waits("CrashLoopBackOff")(content) and all(each["restartCount"] >= 3 for each in statuses(content))


def killed_seconds_ago(content: Content) -> float:
    """How long before the last end of the container the newest event is that tells of a probe's kill."""
    kills = [event for event in content["events"] if event["reason"] == "Killing"]
    ends = [time_at(status, "lastState", "terminated", "finishedAt") for status in statuses(content)]
    if not kills or not all(ends):
        return 0.0
    last = max(datetime.fromisoformat(event["lastTimestamp"]) for event in kills)
    return max(end - last for end in ends if end).total_seconds()


def is_reported(content: Content) -> bool:
    return loops(content) and killed_seconds_ago(content) < 10


def is_unreported(content: Content) -> bool:
    """The kubelet tells of no more than 25 events of an object at once, and of one every five minutes after that."""
    return loops(content) and killed_seconds_ago(content) > 30


def happens(reason: str, times: int = 1) -> Callable[[Content], bool]:
    def holds(content: Content) -> bool:
        return sum(event.get("count") or 1 for event in content["events"] if event["reason"] == reason) >= times

    return holds


def both(one: Callable[[Content], bool], other: Callable[[Content], bool]) -> Callable[[Content], bool]:
    return lambda content: one(content) and other(content)


def is_refused(content: Content) -> bool:
    """Again and again, so that the controller combines its events."""
    return happens("FailedCreate", 12)(content)


def is_unscheduled(content: Content) -> bool:
    return bool(content["pods"]) and happens("FailedScheduling")(content)


def is_thrown_off_twice(content: Content) -> bool:
    return sum(text_at(pod, "status", "reason") == "Evicted" for pod in content["pods"]) >= 2


def runs_for(seconds: float) -> Callable[[Content], bool]:
    def holds(content: Content) -> bool:
        started = [time_at(status, "state", "running", "startedAt") for status in statuses(content)]
        return bool(started) and all(
            each and datetime.now(each.tzinfo) - each > timedelta(seconds=seconds) for each in started
        )

    return holds


def python(program: str, **more: Any) -> dict[str, Any]:
    return {"command": ["python3", "-u", "-c", program], **more}


def probe(path: str, failures: int = 3, **more: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": failures, **more}


@dataclass(frozen=True)
class Failure:
    """A Deployment of one container, and when it has failed as it should.

    `before` is the container of a first release, which fails too; `pod` is more of the pod's specification.
    """

    container: Mapping[str, Any]
    is_due: Callable[[Content], bool]
    pod: Mapping[str, Any] = field(default_factory=dict)
    replicas: int = 1
    before: Mapping[str, Any] | None = None

    def manifest(self, name: str, image: str, container: Mapping[str, Any]) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": name}
        base = {
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": RESOURCES,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
        pod = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 2,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **self.pod,
            "containers": [{**base, **container}],
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "progressDeadlineSeconds": 60,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }


IMAGE_AT = "127.0.0.1:{port}/{name}:1"
ENDLESS = python("print('warming up');import time;time.sleep(999)")
cannot_pull = both(waits("ImagePullBackOff"), happens("BackOff", 3))
FAILURES = {
    "crash": Failure(python("print('connecting to db');raise SystemExit(1)"), loops, replicas=2),
    "segfault": Failure(
        {
            "command": [
                "sh",
                "-c",
                "python3 -c 'import os,signal;print(1,flush=True);os.kill(os.getpid(),signal.SIGSEGV)'; exit $?",
            ]
        },
        loops,
    ),
    "terminated": Failure({"command": ["sh", "-c", "echo bye; exit 143"]}, loops),
    "exit-zero": Failure(python("print('done')"), loops),
    # Never ready, so that the pod of the first release stays.
    "oom": Failure(
        python('print(1)\nx=[]\nwhile True: x.append(b"1"*10000000)', readinessProbe=probe("/readyz")),
        loops,
        before=python("print('taking memory');x=bytearray(200*1024*1024);import time;time.sleep(99)"),
    ),
    "readiness": Failure(python(SERVER, readinessProbe=probe("/readyz")), runs_for(50)),
    "liveness": Failure(
        python(SERVER, livenessProbe=probe("/livez", initialDelaySeconds=3), readinessProbe=probe("/healthz")),
        is_reported,
    ),
    "liveness-unreported": Failure(python(SERVER, livenessProbe=probe("/livez", initialDelaySeconds=3)), is_unreported),
    "startup": Failure({**ENDLESS, "startupProbe": probe("/healthz", 6)}, loops),
    "starting": Failure({**ENDLESS, "startupProbe": probe("/healthz", initialDelaySeconds=500)}, runs_for(5)),
    "image-not-found": Failure({"image": IMAGE_AT.format(port=5000, name="slipway/no-such")}, cannot_pull),
    "image-network": Failure({"image": IMAGE_AT.format(port=5999, name="slipway/no-such")}, cannot_pull),
    "unauthorized": Failure({"image": IMAGE_AT.format(port=REFUSING_PORT, name="private/thing")}, cannot_pull),
    "image-invalid": Failure(
        {"image": "127.0.0.1:5000/Slipway/UPPER@bad"}, both(waits("InvalidImageName"), happens("Failed", 3))
    ),
    "entrypoint": Failure({"command": ["/no/such/program"]}, loops),
    "shell-127": Failure({"command": ["sh", "-c", "gunicron app"]}, loops),
    "not-executable": Failure({"command": ["/etc/passwd"]}, loops),
    "unschedulable-cpu": Failure(
        python("1", resources={"requests": {"cpu": "500", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}),
        is_unscheduled,
    ),
    "unschedulable-affinity": Failure(python("1"), is_unscheduled, pod={"nodeSelector": {"disk": "ssd"}}),
    "missing-secret": Failure(
        python("1", envFrom=[{"secretRef": {"name": "nope"}}]),
        both(waits("CreateContainerConfigError"), happens("Failed", 3)),
    ),
    "missing-key": Failure(
        python("1", env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "present", "key": "absent"}}}]),
        both(waits("CreateContainerConfigError"), happens("Failed", 3)),
    ),
    "missing-volume": Failure(
        python("import time;time.sleep(99)", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        happens("FailedMount", 3),
        pod={"volumes": [{"name": "v", "secret": {"secretName": "nope"}}]},
    ),
    "no-account": Failure(python("1"), is_refused, pod={"serviceAccountName": "nobody"}),
    "read-only": Failure(python("open('/srv/x','w')"), loops),
    "permission": Failure(python("open('/etc/shadow').read()"), loops),
    "refused": Failure(
        python("1", securityContext={"capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}), is_refused
    ),
    "quota": Failure(
        python("1", resources={"requests": {"cpu": "5m", "memory": "9Gi"}, "limits": {"memory": "9Gi"}}), is_refused
    ),
    "storage": Failure(
        python(
            STORING,
            securityContext={
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": False,
            },
        ),
        is_thrown_off_twice,
    ),
}


def record() -> None:
    with workspace(NAMESPACE, Workspace) as made, _refusing_registry():
        made.kubectl("apply", "-f", "-", text=_as_list(SETTING[:1]))
        made.kubectl("-n", NAMESPACE, "apply", "-f", "-", text=_as_list(SETTING[1:]))
        _apply(made, {name: each.before or each.container for name, each in FAILURES.items()})
        upgraded = {name for name, each in FAILURES.items() if each.before is None}
        left, began = set(FAILURES), time.monotonic()
        while left:
            if time.monotonic() - began > TIMEOUT_SECONDS:
                raise RecordingError(f"not failed as they should within {TIMEOUT_SECONDS} s: {', '.join(sorted(left))}")
            time.sleep(POLL_SECONDS)
            found = _contents(made)
            for name in sorted(set(FAILURES) - upgraded):
                if any(status["restartCount"] for status in statuses(found[name])):
                    _apply(made, {name: FAILURES[name].container})
                    upgraded.add(name)
                    found.pop(name)
            for name in sorted(each for each in left & upgraded & set(found) if FAILURES[each].is_due(found[each])):
                _write(made, name, found[name])
                left.remove(name)
                print(f"diagnosis {name}: {time.monotonic() - began:.0f} s, {len(left)} left", flush=True)
                made.kubectl("-n", NAMESPACE, "delete", "deployment", name, "--wait=false")


def _apply(made: Workspace, containers: Mapping[str, Mapping[str, Any]]) -> None:
    manifests = [FAILURES[name].manifest(name, made.base_image, each) for name, each in containers.items()]
    made.kubectl("-n", NAMESPACE, "apply", "-f", "-", text=_as_list(manifests))


def _as_list(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _contents(made: Workspace) -> dict[str, Content]:
    """Everything but the logs, by Deployment."""
    kinds = "deployments.apps,replicasets.apps,pods,events"
    items = json.loads(made.kubectl("-n", NAMESPACE, "get", kinds, "-o", "json"))["items"]
    of_kind = {
        kind: [each for each in items if each["kind"] == kind] for kind in ("Deployment", "ReplicaSet", "Pod", "Event")
    }
    return {name_of(each): _content(each, of_kind) for each in of_kind["Deployment"]}


def _content(deployment: dict[str, Any], of_kind: Mapping[str, list[dict[str, Any]]]) -> Content:
    sets = [each for each in of_kind["ReplicaSet"] if is_owned_by(each, deployment)]
    pods = [each for each in of_kind["Pod"] if any(is_owned_by(each, owner) for owner in sets)]
    uids = {uid_of(each) for each in (deployment, *sets, *pods)}
    events = [each for each in of_kind["Event"] if text_at(each, "involvedObject", "uid") in uids]
    return {"deployment": deployment, "replicaSets": sets, "pods": pods, "events": events, "logs": []}


def _write(made: Workspace, name: str, content: Content) -> None:
    """Record a failure: what a pod template says is left to the pods, and of the node its address is left out."""
    logs = list(recent_logs(made, content))
    for item in (content["deployment"], *content["replicaSets"], *content["pods"], *content["events"]):
        item["metadata"].pop("managedFields", None)
        object_at(item, "metadata").get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    for item in (content["deployment"], *content["replicaSets"]):
        del item["spec"]["template"]
    for pod in content["pods"]:
        for key in ("hostIP", "hostIPs"):
            pod["status"].pop(key, None)
    text = json.dumps({**content, "logs": logs}, indent=1, sort_keys=True) + "\n"
    (RECORDINGS / f"{name}.json").write_text(made.masked(text))


def recent_logs(made: Workspace, content: Content) -> Iterator[dict[str, Any]]:
    """Of every container that has one, this run's and that of the run before."""
    for pod in content["pods"]:
        for status in objects_at(pod, "status", "containerStatuses"):
            name, container, namespace = name_of(pod), status["name"], text_at(pod, "metadata", "namespace")
            for previous in (False, True):
                more = ["--previous"] if previous else []
                try:
                    text = made.kubectl("-n", namespace, "logs", name, "-c", container, f"--tail={LINES_READ}", *more)
                except RecordingError:
                    continue  # it never ran, or ran once
                yield {"pod": name, "container": container, "previous": previous, "text": text}


class _Refusing(BaseHTTPRequestHandler):
    """A registry that wants a login."""

    def do_HEAD(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 (the server's name)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def _refusing_registry() -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", REFUSING_PORT), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
