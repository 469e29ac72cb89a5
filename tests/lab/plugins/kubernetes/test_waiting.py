"""What the provider waits for, on a real node: what ends well, what cannot, and what the user is told."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from lab.plugins.kubernetes.client import Client

pytestmark = pytest.mark.lab

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
STATEFUL_SET = "kubernetes:apps/v1:StatefulSet"
DAEMON_SET = "kubernetes:apps/v1:DaemonSet"
JOB = "kubernetes:batch/v1:Job"
POD = "kubernetes:core/v1:Pod"
SERVICE = "kubernetes:core/v1:Service"
SLEEP = ["python3", "-c", "import signal, time; signal.signal(15, lambda *_: exit(0)); time.sleep(600)"]


def pod_spec(image: str, command: list[str] | None = None, **more: Any) -> dict[str, Any]:
    container = {"name": "app", "image": image, "command": command or SLEEP, **more}
    return {"containers": [container], "terminationGracePeriodSeconds": 1}


def workload(kind: str, namespace: str, name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **more},
    }


def deployment(namespace: str, name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return workload("Deployment", namespace, name, spec, **more)


def job(namespace: str, name: str, image: str, command: list[str]) -> dict[str, Any]:
    spec = {"template": {"spec": {**pod_spec(image, command), "restartPolicy": "Never"}}, "backoffLimit": 0}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def service(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
    }


def failure_of(provider: Any, token: str, name: str, inputs: dict[str, Any], **more: Any) -> tuple[list[str], float]:
    """The reasons a creation fails for, and the seconds that took."""
    started = time.monotonic()
    with pytest.raises(provider.Failed) as failure:
        provider.create(token, name, inputs, **more)
    assert failure.value.detail is not None, failure.value
    assert failure.value.detail.id == f"{inputs['metadata']['namespace']}/{name}"
    return list(failure.value.detail.reasons), time.monotonic() - started


def test_a_deployment_is_done_when_its_pods_are(provider: Any, namespace: str, base_image: str) -> None:
    inputs = deployment(namespace, "good", pod_spec(base_image), replicas=2)
    made = provider.create(DEPLOYMENT, "good", inputs)

    assert made.outputs["status"]["availableReplicas"] == 2
    assert any("Waiting for app ReplicaSet to be available" in told for told in provider.log.statuses())


def test_a_rollout_is_done_when_no_old_pod_is_left(provider: Any, namespace: str, base_image: str) -> None:
    inputs = deployment(namespace, "rolling", pod_spec(base_image), replicas=1)
    provider.create(DEPLOYMENT, "rolling", inputs)
    inputs["spec"]["template"]["metadata"]["annotations"] = {"step": "2"}
    made = provider.update(DEPLOYMENT, "rolling", inputs)

    status = made.outputs["status"]
    assert (status["updatedReplicas"], status["replicas"], status["availableReplicas"]) == (1, 1, 1)
    inputs["spec"]["replicas"] = 0
    assert provider.update(DEPLOYMENT, "rolling", inputs).outputs["status"].get("replicas", 0) == 0


def test_a_deployment_without_replicas_is_done_at_once(provider: Any, namespace: str, base_image: str) -> None:
    started = time.monotonic()
    provider.create(DEPLOYMENT, "none", deployment(namespace, "none", pod_spec(base_image), replicas=0))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("name", "spec", "told", "seconds"),
    [
        ("bad-name", pod_spec("UPPER CASE"), r"InvalidImageName", 10),
        (
            "no-config",
            {"containers": [{"name": "app", "image": "BASE", "envFrom": [{"configMapRef": {"name": "missing"}}]}]},
            r"CreateContainerConfigError\] configmap \"missing\" not found",
            20,
        ),
        (
            "no-image",
            pod_spec("127.0.0.1:5000/nothing:1"),
            r"(ErrImagePull|ImagePullBackOff)\].*127.0.0.1:5000/nothing:1",
            30,
        ),
        (
            "crashing",
            pod_spec("BASE", ["false"], readinessProbe={"exec": {"command": ["true"]}, "initialDelaySeconds": 2}),
            r"CrashLoopBackOff",
            45,
        ),
        ("never", pod_spec("127.0.0.1:5000/nothing:1", imagePullPolicy="Never"), r"ErrImageNeverPull", 10),
    ],
)
def test_a_hopeless_rollout_ends_soon_and_says_why(  # noqa: PLR0917 -- parameters of the test
    provider: Any, namespace: str, base_image: str, name: str, spec: dict[str, Any], told: str, seconds: float
) -> None:
    spec = json.loads(json.dumps(spec).replace("BASE", base_image))
    reasons, took = failure_of(provider, DEPLOYMENT, name, deployment(namespace, name, spec))

    assert f"Deployment '{namespace}/{name}' cannot become ready" in reasons[0]
    assert any(re.search(told, reason) for reason in reasons[1:]), reasons
    assert any(f"[Pod {namespace}/{name}-" in reason for reason in reasons[1:]), reasons
    assert took < seconds


def test_the_status_shows_what_is_wrong_while_there_is_hope(provider: Any, namespace: str) -> None:
    failure_of(provider, DEPLOYMENT, "told", deployment(namespace, "told", pod_spec("127.0.0.1:5000/nothing:1")))
    assert any(f"[Pod {namespace}/told-" in told and "ErrImagePull" in told for told in provider.log.statuses())


def test_a_failed_rollout_is_recorded_and_waited_for_again(provider: Any, namespace: str, base_image: str) -> None:
    inputs = deployment(namespace, "fixable", pod_spec("127.0.0.1:5000/nothing:1", imagePullPolicy="Never"))
    failure_of(provider, DEPLOYMENT, "fixable", inputs)
    recorded = provider.state[provider.urn(DEPLOYMENT, "fixable")]
    assert recorded.outputs["__inputs"]["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Never"

    inputs["spec"]["template"]["spec"] = pod_spec(base_image)
    assert provider.up(DEPLOYMENT, "fixable", inputs) == "update"
    assert provider.state[provider.urn(DEPLOYMENT, "fixable")].live["status"]["availableReplicas"] == 1


def test_a_refresh_of_an_unready_deployment_records_its_reasons(provider: Any, namespace: str, base_image: str) -> None:
    inputs = deployment(namespace, "refreshed", pod_spec("127.0.0.1:5000/nothing:1", imagePullPolicy="Never"))
    failure_of(provider, DEPLOYMENT, "refreshed", inputs)
    with pytest.raises(provider.Failed, match="was created but failed to initialize") as failure:
        provider.read(DEPLOYMENT, "refreshed")
    assert failure.value.detail.inputs.fields["spec"].struct_value.fields["template"]
    assert any("ErrImageNeverPull" in reason for reason in failure.value.detail.reasons)


def test_the_progress_deadline_ends_a_rollout(provider: Any, namespace: str, base_image: str) -> None:
    spec = pod_spec(base_image, readinessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1})
    inputs = deployment(namespace, "unready", spec, progressDeadlineSeconds=3)
    reasons, _ = failure_of(provider, DEPLOYMENT, "unready", inputs)
    assert any("ProgressDeadlineExceeded" in reason for reason in reasons)
    assert any("containers with unready status: [app]" in reason for reason in reasons)


def test_the_time_allowed_is_the_resources_timeout_else_the_annotation(
    provider: Any, namespace: str, base_image: str
) -> None:
    spec = pod_spec(base_image, readinessProbe={"exec": {"command": ["false"]}})
    inputs = deployment(namespace, "slow", spec)
    inputs["metadata"]["annotations"] = {"pulumi.com/timeoutSeconds": "2"}
    reasons, took = failure_of(provider, DEPLOYMENT, "slow", inputs)
    assert f"'{namespace}/slow' timed out waiting to be Ready" in reasons[0]
    assert 2 <= took < 6
    started = time.monotonic()
    with pytest.raises(provider.Failed, match="timed out"):
        provider.update(DEPLOYMENT, "slow", inputs, timeout=4)
    assert 4 <= time.monotonic() - started < 8


def test_skip_await_does_not_wait(provider: Any, namespace: str) -> None:
    inputs = deployment(namespace, "unwatched", pod_spec("127.0.0.1:5000/nothing:1"))
    inputs["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    started = time.monotonic()
    provider.create(DEPLOYMENT, "unwatched", inputs)
    assert time.monotonic() - started < 3


def test_cancel_ends_a_wait_within_a_second_and_records_the_object(
    provider: Any, namespace: str, base_image: str
) -> None:
    spec = pod_spec(base_image, readinessProbe={"exec": {"command": ["false"]}})
    results: list[Any] = []

    def create() -> None:
        try:
            provider.create(DEPLOYMENT, "cancelled", deployment(namespace, "cancelled", spec))
        except provider.Failed as error:
            results.append((error, time.monotonic()))

    thread = threading.Thread(target=create)
    thread.start()
    assert provider.log.wait_for("Waiting for app ReplicaSet")
    asked = time.monotonic()
    provider.call("Cancel", Empty())
    thread.join(timeout=5)
    error, ended = results[0]
    assert ended - asked < 1
    assert f"Resource operation was cancelled for '{namespace}/cancelled'" in str(error)
    assert error.detail.id == f"{namespace}/cancelled"


def test_a_rollouts_end_is_seen_at_once(provider: Any, cluster: Client, namespace: str, base_image: str) -> None:
    """Measured against a watch of the test's own."""
    ended: list[float] = []

    def watch() -> None:
        query = {"watch": "1", "fieldSelector": "metadata.name=prompt", "timeoutSeconds": "60"}
        for line in cluster.lines(f"/apis/apps/v1/namespaces/{namespace}/deployments", query):
            if json.loads(line)["object"].get("status", {}).get("availableReplicas") == 1:
                ended.append(time.monotonic())
                return

    thread = threading.Thread(target=watch)
    thread.start()
    provider.create(DEPLOYMENT, "prompt", deployment(namespace, "prompt", pod_spec(base_image)))
    seen = time.monotonic()
    thread.join(timeout=5)
    assert seen - ended[0] < 0.5


def test_a_stateful_set_is_rolled_out_in_full(provider: Any, namespace: str, base_image: str) -> None:
    inputs = workload("StatefulSet", namespace, "db", pod_spec(base_image), replicas=2, serviceName="db")
    made = provider.create(STATEFUL_SET, "db", inputs)
    assert made.outputs["status"]["readyReplicas"] == 2
    inputs["spec"]["template"]["metadata"]["annotations"] = {"step": "2"}
    status = provider.update(STATEFUL_SET, "db", inputs).outputs["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_a_daemon_set_is_done_when_every_node_runs_it(provider: Any, namespace: str, base_image: str) -> None:
    made = provider.create(DAEMON_SET, "collector", workload("DaemonSet", namespace, "collector", pod_spec(base_image)))
    assert made.outputs["status"]["numberAvailable"] == made.outputs["status"]["desiredNumberScheduled"] >= 1


def test_a_job_is_done_when_it_has_succeeded(provider: Any, namespace: str, base_image: str) -> None:
    made = provider.create(JOB, "works", job(namespace, "works", base_image, ["python3", "-c", "print(1)"]))
    assert made.outputs["status"]["succeeded"] == 1


def test_a_job_that_removes_itself_is_done_all_the_same(provider: Any, namespace: str, base_image: str) -> None:
    inputs = job(namespace, "brief", base_image, ["python3", "-c", "print(1)"])
    inputs["spec"]["ttlSecondsAfterFinished"] = 0
    assert provider.create(JOB, "brief", inputs).outputs["status"]["succeeded"] == 1


def test_a_job_that_fails_says_so(provider: Any, namespace: str, base_image: str) -> None:
    inputs = job(namespace, "fails", base_image, ["python3", "-c", "raise SystemExit(3)"])
    reasons, _ = failure_of(provider, JOB, "fails", inputs)
    assert f"Job '{namespace}/fails' failed" in reasons[0]
    assert any("BackoffLimitExceeded" in reason for reason in reasons)
    assert any("exit code 3" in reason for reason in reasons)


def test_a_pod_is_done_when_it_runs_or_has_succeeded(provider: Any, namespace: str, base_image: str) -> None:
    metadata = {"name": "bare", "namespace": namespace}
    inputs = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(base_image)}
    assert provider.create(POD, "bare", inputs).outputs["status"]["phase"] == "Running"
    failing = {**inputs, "metadata": {**metadata, "name": "failing"}}
    failing["spec"] = {**pod_spec(base_image, ["false"]), "restartPolicy": "Never"}
    reasons, _ = failure_of(provider, POD, "failing", failing)
    assert f"Pod '{namespace}/failing' failed" in reasons[0]


def test_a_service_is_done_when_its_pods_are_endpoints(provider: Any, namespace: str, base_image: str) -> None:
    provider.create(DEPLOYMENT, "served", deployment(namespace, "served", pod_spec(base_image)))
    started = time.monotonic()
    provider.create(SERVICE, "served", service(namespace, "served"))
    assert time.monotonic() - started < 5


def test_a_service_waits_for_pods_that_are_not_ready(provider: Any, namespace: str, base_image: str) -> None:
    spec = pod_spec(base_image, readinessProbe={"exec": {"command": ["false"]}})
    inputs = deployment(namespace, "unserved", spec)
    inputs["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    provider.create(DEPLOYMENT, "unserved", inputs)
    reasons, _ = failure_of(provider, SERVICE, "unserved", service(namespace, "unserved"), timeout=8)
    assert any("Service does not target any Pods" in reason for reason in reasons)


def test_a_service_of_pods_scaled_to_zero_is_done_at_once(provider: Any, namespace: str, base_image: str) -> None:
    provider.create(DEPLOYMENT, "zero", deployment(namespace, "zero", pod_spec(base_image), replicas=0))
    started = time.monotonic()
    provider.create(SERVICE, "zero", service(namespace, "zero"))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "spec",
    [{"selector": None}, {"clusterIP": "None"}, {"type": "ExternalName", "externalName": "example.com", "ports": None}],
)
def test_a_service_without_endpoints_of_its_own_is_done_at_once(
    provider: Any, namespace: str, spec: dict[str, Any]
) -> None:
    name = f"plain-{len(provider.state)}-{abs(hash(json.dumps(spec))) % 10**6}"
    inputs = service(namespace, name, **spec)
    inputs["spec"] = {key: value for key, value in inputs["spec"].items() if value is not None}
    started = time.monotonic()
    provider.create(SERVICE, name, inputs)
    assert time.monotonic() - started < 3


def test_a_load_balancer_waits_for_its_address(provider: Any, namespace: str) -> None:
    inputs = service(namespace, "balanced", type="LoadBalancer")
    reasons, _ = failure_of(provider, SERVICE, "balanced", inputs, timeout=2)
    assert any("Service was not allocated an IP address" in reason for reason in reasons)


def test_a_claim_without_a_provisioner_says_what_it_waits_for(provider: Any, namespace: str) -> None:
    inputs = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "none-such",
        },
    }
    reasons, _ = failure_of(provider, "kubernetes:core/v1:PersistentVolumeClaim", "data", inputs, timeout=2)
    assert any("the claim is Pending, storage class none-such" in reason for reason in reasons)


def test_an_ingress_without_a_controller_says_so(provider: Any, namespace: str) -> None:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "none", "port": {"number": 80}}}}
    inputs = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "in", "namespace": namespace},
        "spec": {"rules": [{"http": {"paths": [path]}}]},
    }
    reasons, _ = failure_of(provider, "kubernetes:networking.k8s.io/v1:Ingress", "in", inputs, timeout=2)
    assert any("unavailable target endpoint: Service none" in reason for reason in reasons)


def test_a_quota_that_refuses_pods_is_told(provider: Any, cluster: Client, base_image: str) -> None:
    """The quota counts pods, and allows none."""
    name = f"provider-quota-{os.getpid()}"
    provider.create("kubernetes:core/v1:Namespace", name, {"metadata": {"name": name}})
    quota = {"metadata": {"name": "q", "namespace": name}, "spec": {"hard": {"pods": "0"}}}
    provider.create("kubernetes:core/v1:ResourceQuota", "q", quota)
    inputs = deployment(name, "refused", pod_spec(base_image))
    reasons, _ = failure_of(provider, DEPLOYMENT, "refused", inputs, timeout=4)
    assert any("FailedCreate" in reason and "exceeded quota: q" in reason for reason in reasons), reasons
    provider.delete("kubernetes:core/v1:Namespace", name)


def test_wait_for_holds_until_the_condition_is_met(provider: Any, cluster: Client, namespace: str) -> None:
    inputs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "awaited",
            "namespace": namespace,
            "annotations": {"pulumi.com/waitFor": "jsonpath={.data.ready}=yes"},
        },
    }

    def make_ready() -> None:
        assert provider.log.wait_for("Waiting for {.data.ready}=yes (found 'nothing')")
        path = f"/api/v1/namespaces/{namespace}/configmaps/awaited"
        cluster.send("PATCH", path, body={"data": {"ready": "yes"}}, content_type="application/merge-patch+json")

    thread = threading.Thread(target=make_ready)
    thread.start()
    assert provider.create(CONFIG_MAP, "awaited", inputs).outputs["data"] == {"ready": "yes"}
    thread.join()


def test_a_definition_is_established_before_its_objects_come(provider: Any, cluster: Client, namespace: str) -> None:
    group = "slipway.test"
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}},
    }
    versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    names = {"plural": "boats", "singular": "boat", "kind": "Boat"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{group}"},
        "spec": {"group": group, "scope": "Cluster", "names": names, "versions": versions},
    }
    crd, boat = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", f"kubernetes:{group}/v1:Boat"
    inputs = {"apiVersion": f"{group}/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"sails": 2}}
    assert provider.create(boat, "b", inputs, preview=True).outputs["spec"] == {"sails": 2}
    provider.create(crd, "boats", definition)
    try:
        assert provider.up(crd, "boats", definition) == "same"
        made = provider.create(boat, "b", inputs)
        assert made.id == "b"
        assert provider.up(boat, "b", {**inputs, "spec": {"sails": 3}}) == "update"
        definition["metadata"]["labels"] = {"a": "1"}
        assert provider.up(crd, "boats", definition) == "update"
        assert provider.read(crd, "boats") is not None
        assert provider.up(crd, "boats", definition) == "same"
        provider.delete(boat, "b")
    finally:
        provider.delete(crd, "boats")


def test_a_namespace_that_stays_says_what_is_left_in_it(provider: Any, cluster: Client) -> None:
    name = f"provider-stuck-{os.getpid()}"
    provider.create("kubernetes:core/v1:Namespace", name, {"metadata": {"name": name}})
    inputs = {"metadata": {"name": "keep", "namespace": name, "finalizers": ["slipway.test/keep"]}}
    provider.create(CONFIG_MAP, "keep", inputs)
    with pytest.raises(provider.Failed, match=r"slipway.test/keep in 1 resource instances"):
        provider.delete("kubernetes:core/v1:Namespace", name, timeout=12)
    patch = {"metadata": {"finalizers": None}}
    path = f"/api/v1/namespaces/{name}/configmaps/keep"
    cluster.send("PATCH", path, body=patch, content_type="application/merge-patch+json")
    provider.delete("kubernetes:core/v1:Namespace", name)


def test_objects_wait_for_a_namespace_of_the_same_update(provider: Any) -> None:
    name = f"provider-late-{os.getpid()}"
    inputs = {"metadata": {"name": "early", "namespace": name}}
    thread = threading.Thread(target=provider.create, args=(CONFIG_MAP, "early", inputs))
    thread.start()
    assert provider.log.wait_for("Retry #")
    provider.create("kubernetes:core/v1:Namespace", name, {"metadata": {"name": name}})
    thread.join(timeout=10)
    assert provider.state[provider.urn(CONFIG_MAP, "early")].id == f"{name}/early"
    provider.delete("kubernetes:core/v1:Namespace", name)


def test_a_patch_changes_an_object_it_does_not_own_and_gives_it_back(
    provider: Any, cluster: Client, namespace: str
) -> None:
    token = "kubernetes:core/v1:ConfigMapPatch"
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    cluster.send("POST", path, body={"metadata": {"name": "patched"}, "data": {"a": "1"}})
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched", "namespace": namespace}}
    provider.create(token, "patch", {**inputs, "data": {"b": "2"}})
    assert cluster.get(f"{path}/patched")["data"] == {"a": "1", "b": "2"}
    assert provider.up(token, "patch", {**inputs, "data": {"c": "3"}}) == "update"
    assert cluster.get(f"{path}/patched")["data"] == {"a": "1", "c": "3"}
    provider.delete(token, "patch")
    assert cluster.get(f"{path}/patched")["data"] == {"a": "1"}


def test_a_patch_cannot_let_go_of_a_field_that_must_be_there(provider: Any, cluster: Client, namespace: str) -> None:
    """A patch of something that does not exist makes it, and then holds all of it."""
    metadata = {"name": "patched", "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}}
    inputs = {**deployment(namespace, "patched", pod_spec("none:1"), replicas=0), "metadata": metadata}
    token = "kubernetes:apps/v1:DeploymentPatch"
    provider.create(token, "patch", inputs)
    with pytest.raises(provider.Failed, match="this Patch resource is currently managing a required field"):
        provider.delete(token, "patch")


def test_what_an_object_owns_stays_when_the_annotation_says_so(
    provider: Any, cluster: Client, namespace: str, base_image: str
) -> None:
    inputs = deployment(namespace, "parent", pod_spec(base_image), replicas=0)
    inputs["metadata"]["annotations"] = {"pulumi.com/deletionPropagationPolicy": "orphan"}
    provider.create(DEPLOYMENT, "parent", inputs)
    provider.delete(DEPLOYMENT, "parent")
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    left = [item for item in cluster.get(path)["items"] if item["metadata"]["name"].startswith("parent-")]
    assert len(left) == 1
    assert "ownerReferences" not in left[0]["metadata"]


def test_an_operation_that_runs_when_the_process_is_ended_is_still_answered(provider: Any, namespace: str) -> None:
    name = "ending"
    inputs = deployment(namespace, name, pod_spec("127.0.0.1:5000/nothing:1"))
    results: list[Exception] = []

    def create() -> None:
        try:
            provider.create(DEPLOYMENT, name, inputs)
        except provider.Failed as error:
            results.append(error)

    thread = threading.Thread(target=create)
    thread.start()
    assert provider.log.wait_for("Waiting for app ReplicaSet")
    provider.process.terminate()
    thread.join(timeout=5)
    assert "Resource operation was cancelled" in str(results[0])
    assert provider.process.wait(timeout=5) == 0


def test_many_objects_at_once(provider: Any, namespace: str) -> None:
    """More operations than the engine's default parallelism, each in a thread of its own."""
    errors: list[Exception] = []

    def create(number: int) -> None:
        try:
            inputs = {"metadata": {"name": f"many-{number}", "namespace": namespace}, "data": {"n": str(number)}}
            provider.create(CONFIG_MAP, f"many-{number}", inputs)
        except provider.Failed as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(96)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert time.monotonic() - started < 20
    assert len([urn for urn in provider.state if "::many-" in urn]) == 96


def test_it_ends_when_the_engine_goes_away(provider: Any) -> None:
    assert provider.process.stdin is not None
    provider.process.stdin.close()
    assert provider.process.wait(timeout=5) == 0
    assert not Path(f"/proc/{provider.process.pid}/cmdline").exists()
