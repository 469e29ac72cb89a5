"""Each cause is told from every other, from objects of real failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slipway.cluster.diagnosis import Cause, Evidence, diagnose, screen
from slipway.cluster.diagnosis.diagnose import MAX_LINES

Recorded = Callable[..., Evidence]

# recording, its cause, what the screen must say, and the seconds of patience (None: the deadline decides)
CASES = [
    ("crash", Cause.CRASH, ["2 of 2", "exit code 1", "connecting to db"], 0.0),
    ("segfault", Cause.CRASH, ["exit code 139 (SIGSEGV)", "Segmentation fault"], 0.0),
    ("terminated", Cause.CRASH, ["exit code 143 (SIGTERM)", "bye"], 0.0),
    ("exit-zero", Cause.ENDED, ["exit code 0", "has to keep running"], 0.0),
    ("oom", Cause.OUT_OF_MEMORY, ["32Mi", "resources.memory"], 0.0),
    ("readiness", Cause.READINESS, ["GET /readyz on port http answers 404", "health.ready"], None),
    ("liveness", Cause.LIVENESS, ["GET /livez on port http answers 404", "will be restarted"], None),
    ("liveness-unreported", Cause.LIVENESS, ["GET /livez on port http"], None),
    ("startup", Cause.STARTUP, ["does not answer", "after 6 s", "connection refused", "warming up"], None),
    ("starting", Cause.STARTING, ["still starting", "progressDeadlineSeconds"], None),
    ("image-not-found", Cause.IMAGE_NOT_FOUND, ["127.0.0.1:5000/slipway/no-such:1: not found"], 3.0),
    (
        "unauthorized",
        Cause.IMAGE_REFUSED,
        ["401 Unauthorized", "`slipway:imagePullSecrets`", "create secret docker-registry"],
        3.0,
    ),
    ("image-network", Cause.REGISTRY_UNREACHABLE, ["connection refused", "127.0.0.1:5999"], 30.0),
    ("image-invalid", Cause.IMAGE_INVALID, ["must be lowercase"], 0.0),
    ("entrypoint", Cause.ENTRYPOINT, ["`/no/such/program`", "no such file or directory"], 0.0),
    ("shell-127", Cause.ENTRYPOINT, ["exit code 127", "gunicron: not found"], 0.0),
    ("not-executable", Cause.ENTRYPOINT, ['exec: "/etc/passwd": permission denied'], 0.0),
    ("unschedulable-cpu", Cause.RESOURCES, ["Insufficient cpu", "asks for cpu 500, memory 32Mi"], 45.0),
    ("unschedulable-affinity", Cause.PLACEMENT, ["didn't match Pod's node affinity/selector"], 15.0),
    ("missing-secret", Cause.MISSING_OBJECT, ["needs Secret nope"], 5.0),
    ("missing-key", Cause.MISSING_OBJECT, ["needs the key absent of ConfigMap present"], 5.0),
    ("missing-volume", Cause.MISSING_OBJECT, ["needs Secret nope", "MountVolume"], 5.0),
    ("no-account", Cause.MISSING_OBJECT, ["needs ServiceAccount nobody"], 5.0),
    ("read-only", Cause.READ_ONLY, ["Read-only file system: '/srv/x'", "scratch"], 0.0),
    ("permission", Cause.PERMISSION, ["Permission denied: '/etc/shadow'"], 0.0),
    ("refused", Cause.ADMISSION, ['violates PodSecurity "restricted:latest"'], 5.0),
    ("quota", Cause.QUOTA, ["exceeded quota: team", "describe resourcequota"], 12.0),
    ("storage", Cause.EVICTED, ["ephemeral local storage usage exceeds"], 0.0),
]


@pytest.mark.parametrize(("name", "cause", "words", "patience"), CASES, ids=[case[0] for case in CASES])
def test_a_cause_is_reported(
    recorded: Recorded, name: str, cause: Cause, words: list[str], patience: float | None
) -> None:
    diagnosis = diagnose(recorded(name))
    shown = screen(diagnosis)
    flat = " ".join(shown.split())
    assert diagnosis.cause is cause, shown
    assert [word for word in words if word not in flat] == [], shown
    assert diagnosis.patience_seconds == patience
    assert diagnosis.retryable == (patience is None)


@pytest.mark.parametrize("name", [case[0] for case in CASES])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_a_screen_fits(recorded: Recorded, name: str, width: int) -> None:
    lines = screen(diagnose(recorded(name)), width).splitlines()
    assert len(lines) <= MAX_LINES, "\n".join(lines)
    assert [line for line in lines if len(line) > width and "$ " not in line] == []


def statuses(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [status for pod in content["pods"] for status in pod["status"]["containerStatuses"]]


@pytest.mark.parametrize(
    ("name", "cause"),
    [("crash", Cause.CRASH), ("image-not-found", Cause.IMAGE_NOT_FOUND), ("oom", Cause.OUT_OF_MEMORY)],
)
def test_a_container_that_cannot_run_is_named_before_one_that_is_not_ready(
    recorded: Recorded, name: str, cause: Cause
) -> None:
    """Whichever of them the kubelet lists first."""
    beside = dict(recorded(name).current_pods()[0]["status"]["containerStatuses"][0], name="proxy")

    def add(content: dict[str, Any]) -> None:
        for pod in content["pods"]:
            pod["status"]["containerStatuses"].append(beside)
            pod["spec"]["containers"].append({"name": "proxy", "image": "proxy:1"})

    diagnosis = diagnose(recorded("readiness", add))
    assert (diagnosis.cause, diagnosis.finding.container) == (cause, "proxy")


@pytest.mark.parametrize(
    ("name", "policy", "headline", "advice"),
    [
        ("crash", "Always", "sidecar crash of crash crashes: its container ends with exit code 1", "in the source"),
        ("crash", None, "init container crash of crash crashes: its container ends with exit code 1", "in the source"),
        (
            "oom",
            "Always",
            "sidecar oom of oom was killed with SIGKILL",
            "(now 32Mi) in service.yaml of oom, sidecar oom",
        ),
        ("readiness", "Always", "sidecar readiness of readiness runs, but does not become ready", "`readinessProbe`"),
        ("startup", "Always", "sidecar startup of startup is too slow to start", "raise `failureThreshold`"),
    ],
)
def test_sidecars_and_init_containers_are_named(
    recorded: Recorded, name: str, policy: str | None, headline: str, advice: str
) -> None:
    """The container that failed as one of the `initContainers`."""

    def move(content: dict[str, Any]) -> None:
        for pod in content["pods"]:
            (container,) = pod["spec"].pop("containers")
            pod["spec"]["initContainers"] = [container | ({"restartPolicy": policy} if policy else {})]
            pod["spec"]["containers"] = [{"name": "main", "image": "main:1"}]
            pod["status"]["initContainerStatuses"] = pod["status"]["containerStatuses"]
            waiting = {"waiting": {"reason": "PodInitializing"}}
            pod["status"]["containerStatuses"] = [{"name": "main", "ready": False, "state": waiting}]

    diagnosis = diagnose(recorded(name, move))
    assert diagnosis.headline.startswith(headline)
    assert advice in " ".join(diagnosis.advice)


def test_a_sidecar_that_crashes_between_two_readings_is_found(recorded: Recorded) -> None:
    """Without a readiness probe it is ready between two crashes."""

    def move(content: dict[str, Any]) -> None:
        for pod in content["pods"]:
            (container,) = pod["spec"].pop("containers")
            pod["spec"]["initContainers"] = [container | {"restartPolicy": "Always"}]
            pod["spec"]["containers"] = [{"name": "main", "image": "main:1"}]
            (status,) = pod["status"]["containerStatuses"]
            ended = status["state"].get("terminated") or status["lastState"]["terminated"]
            running = {"ready": True, "started": True, "state": {"running": {}}, "lastState": {"terminated": ended}}
            pod["status"]["initContainerStatuses"] = [status | running]
            pod["status"]["containerStatuses"] = [{"name": "main", "ready": True, "state": {"running": {}}}]
            for condition in pod["status"]["conditions"]:
                condition["status"] = "True"

    assert diagnose(recorded("crash", move)).finding.container == "crash"


@pytest.mark.parametrize(
    ("message", "cause", "words", "patience"),
    [
        ('persistentvolumeclaim "data" not found', Cause.MISSING_OBJECT, "needs PersistentVolumeClaim data", 5.0),
        ("pod has unbound immediate PersistentVolumeClaims", Cause.VOLUME, "cannot be set up", None),
    ],
)
def test_a_volume_that_is_not_there_is_no_matter_of_placement(
    recorded: Recorded, *, message: str, cause: Cause, words: str, patience: float | None
) -> None:
    def unscheduled(content: dict[str, Any]) -> None:
        for pod in content["pods"]:
            for condition in pod["status"]["conditions"]:
                if condition["type"] == "PodScheduled":
                    condition["message"] = f"0/1 nodes are available: {message}. preemption: 0/1 nodes are available."

    diagnosis = diagnose(recorded("unschedulable-affinity", unscheduled))
    assert diagnosis.cause is cause
    assert words in diagnosis.headline
    assert diagnosis.patience_seconds == patience
    assert "Label, untaint" not in screen(diagnosis)


@pytest.mark.parametrize("reason", ["NodeShutdown", "Terminated", "Preempting", "OutOfcpu"])
def test_pods_that_a_node_throws_off_are_made_anew_elsewhere(recorded: Recorded, reason: str) -> None:
    def thrown_off(content: dict[str, Any]) -> None:
        for pod in content["pods"]:
            pod["status"] |= {"reason": reason, "message": "Pod was rejected as the node is shutting down."}

    diagnosis = diagnose(recorded("storage", thrown_off))
    assert diagnosis.retryable
    assert reason in diagnosis.headline


@pytest.mark.parametrize("code", [0, 1, 143])
def test_a_run_that_its_probe_ended_did_not_end_by_itself(recorded: Recorded, code: int) -> None:
    """However it ended, and though the same event tells of a kill since."""

    def in_order(content: dict[str, Any]) -> None:
        (status,) = statuses(content)
        status["lastState"]["terminated"] |= {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        (kill,) = [event for event in content["events"] if event["reason"] == "Killing"]
        assert kill["firstTimestamp"] < kill["lastTimestamp"]
        status["lastState"]["terminated"]["finishedAt"] = kill["firstTimestamp"]

    assert diagnose(recorded("liveness", in_order)).cause is Cause.LIVENESS


def test_a_first_crash_may_mend_itself_and_a_third_does_not(recorded: Recorded) -> None:
    def ended(times: int) -> Callable[[dict[str, Any]], None]:
        def change(content: dict[str, Any]) -> None:
            for status in statuses(content):
                status["restartCount"] = times
                status["state"] = {"running": {"startedAt": "2026-11-23T22:01:42Z"}}

        return change

    assert diagnose(recorded("segfault", ended(1))).retryable
    assert diagnose(recorded("segfault", ended(2))).retryable
    assert not diagnose(recorded("segfault", ended(3))).retryable


def running_again(content: dict[str, Any], last_run: dict[str, Any]) -> None:
    """As a pod is a few seconds after a restart: it runs, its last run is over, its probes have not succeeded yet."""
    for status in statuses(content):
        status["restartCount"] = 5
        status["state"] = {"running": {"startedAt": "2026-01-02T00:00:10Z"}}
        status["lastState"] = {"terminated": {"containerID": "containerd://1", **last_run}}


@pytest.mark.parametrize(("reason", "code"), [("Unknown", 255), ("ContainerStatusUnknown", 137)])
def test_a_run_that_went_down_with_its_node_is_no_crash(recorded: Recorded, reason: str, code: int) -> None:
    run = {
        "exitCode": code,
        "reason": reason,
        "startedAt": "2026-01-02T00:00:00Z",
        "finishedAt": "2026-01-02T00:00:05Z",
    }
    diagnosis = diagnose(recorded("starting", lambda content: running_again(content, run)))
    assert (diagnosis.cause, diagnosis.finding.ends) == (Cause.STARTING, 0)
    assert diagnosis.retryable


def test_a_crash_after_a_long_run_is_a_first_one(recorded: Recorded) -> None:
    run = {"exitCode": 1, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:10:00Z"}
    diagnosis = diagnose(recorded("starting", lambda content: running_again(content, run)))
    assert (diagnosis.cause, diagnosis.finding.ends) == (Cause.CRASH, 1)
    assert diagnosis.retryable
    short = {**run, "finishedAt": "2026-01-01T00:09:59Z"}
    assert not diagnose(recorded("starting", lambda content: running_again(content, short))).retryable


def test_a_crash_for_want_of_another_service_is_left_to_the_deadline(recorded: Recorded) -> None:
    def log(content: dict[str, Any]) -> None:
        for each in content["logs"]:
            each["text"] = "Traceback ...\npsycopg.OperationalError: connection refused: is the server running?\n"

    diagnosis = diagnose(recorded("crash", log))
    assert diagnosis.cause is Cause.CRASH
    assert diagnosis.retryable
    assert "connection refused" in screen(diagnosis)


def test_memory_is_known_by_the_log_where_only_a_worker_was_killed(recorded: Recorded) -> None:
    def log(content: dict[str, Any]) -> None:
        (each,) = [each for each in content["logs"] if not each["previous"]]
        each["text"] += "[1] [ERROR] Worker (pid:7) was sent SIGKILL! Perhaps out of memory?\n"

    diagnosis = diagnose(recorded("readiness", log))
    assert diagnosis.cause is Cause.OUT_OF_MEMORY
    assert "32Mi" in diagnosis.headline


def test_a_node_autoscaler_at_work_is_waited_for(recorded: Recorded) -> None:
    def scaled(content: dict[str, Any]) -> None:
        content["events"].append({**content["events"][-1], "reason": "TriggeredScaleUp", "message": "pod triggered"})
        content["events"][-1]["involvedObject"] = {"uid": content["pods"][0]["metadata"]["uid"]}

    assert diagnose(recorded("unschedulable-cpu", scaled)).retryable


def test_a_webhook_that_refuses_is_quoted(recorded: Recorded) -> None:
    def webhook(content: dict[str, Any]) -> None:
        for condition in content["replicaSets"][0]["status"]["conditions"]:
            condition["message"] = 'admission webhook "images.example.com" denied the request: unsigned image'

    diagnosis = diagnose(recorded("refused", webhook))
    assert diagnosis.cause is Cause.ADMISSION
    assert "unsigned image" in screen(diagnosis)


def test_secrets_in_logs_and_events_are_masked(recorded: Recorded) -> None:
    def leak(content: dict[str, Any]) -> None:
        for each in content["logs"]:
            each["text"] = "connecting to postgresql://app:hunter2@db/users\npassword=hunter2 token: hunter2\n"

    shown = screen(diagnose(recorded("crash", leak)))
    assert "hunter2" not in shown
    assert "postgresql://app:(secret)@db/users" in shown


def test_secrets_in_a_command_are_masked(recorded: Recorded) -> None:
    def leak(content: dict[str, Any]) -> None:
        for pod in content["pods"]:
            pod["spec"]["containers"][0]["args"] = ["--password=hunter2"]

    diagnosis = diagnose(recorded("entrypoint", leak))
    assert diagnosis.cause is Cause.ENTRYPOINT
    assert "--password=(secret)" in diagnosis.headline


def test_pods_of_the_release_before_are_not_looked_at(recorded: Recorded) -> None:
    evidence = recorded("oom")
    assert len(evidence.pods) > len(evidence.current_pods()) == 1


def test_a_change_that_the_controller_has_not_seen_is_still_starting(recorded: Recorded) -> None:
    def changed(content: dict[str, Any]) -> None:
        content["deployment"]["metadata"]["generation"] += 1

    assert diagnose(recorded("crash", changed)).cause is Cause.STARTING


def test_json_logs_are_shown_as_a_person_would_write_them(recorded: Recorded) -> None:
    def log(content: dict[str, Any]) -> None:
        for each in content["logs"]:
            each["text"] = '{"level": "error", "message": "cannot go on", "exception": "Traceback\\nKeyError: 1"}\n'

    assert "| ERROR cannot go on KeyError: 1" in screen(diagnose(recorded("crash", log)))


def test_a_kubelet_whose_cache_is_late_is_no_failure_of_the_container(recorded: Recorded) -> None:
    def late(content: dict[str, Any]) -> None:
        for status in statuses(content):
            status["state"]["waiting"]["message"] = "failed to sync secret cache: timed out waiting for the condition"

    def late_and_unheard(content: dict[str, Any]) -> None:
        late(content)
        content["events"] = []

    assert diagnose(recorded("missing-secret", late)).cause is Cause.MISSING_OBJECT
    assert diagnose(recorded("missing-secret", late_and_unheard)).retryable
