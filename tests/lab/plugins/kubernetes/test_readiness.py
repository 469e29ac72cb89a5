"""The readiness functions: an object as the API server shows it in, its state and the user's message out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.kubernetes.awaiting import networking, others, pods, wait_for, workloads
from lab.plugins.kubernetes.awaiting.deletion import holding
from lab.plugins.kubernetes.awaiting.readiness import Readiness, Sight, State, selector_matches
from lab.plugins.kubernetes.awaiting.runner import Ages, is_newer
from lab.plugins.serving import PluginError

Object = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"


def owner(uid: str) -> Object:
    return {"ownerReferences": [{"uid": uid}]}


def pod(name: str = "web-1", *, uid: str = "p", owned_by: str = "rs", **status: Any) -> Object:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "apps", "uid": uid, **owner(owned_by)},
        "status": status,
    }


def container(reason: str = "", message: str = "", *, restarts: int = 0, **more: Any) -> Object:
    state = {"waiting": {"reason": reason, "message": message}} if reason else {}
    return {"name": "app", "ready": False, "restartCount": restarts, "state": state, **more}


def unready(*containers: Object) -> Object:
    condition = {"type": "Ready", "status": "False", "message": "containers with unready status: [app]"}
    return {"phase": "Pending", "conditions": [condition], "containerStatuses": list(containers)}


def deployment(
    *, wanted: int = 2, generation: int = 3, conditions: list[Object] | None = None, **status: Any
) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "apps",
            "uid": "d",
            "generation": generation,
            "annotations": {REVISION: "2"},
        },
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 3, "conditions": conditions or [], **status},
    }


def replica_set(uid: str = "rs", revision: str = "2") -> Object:
    return {"metadata": {"uid": uid, **owner("d"), "annotations": {REVISION: revision}}}


def counts(updated: int, total: int, available: int) -> dict[str, int]:
    return {"updatedReplicas": updated, "replicas": total, "availableReplicas": available}


def look(live: Object, *, age: float = 0, **related: list[Object]) -> Sight:
    return Sight(live, related, age=lambda _key: age)


def rollout(live: Object, *found: Object, age: float = 0) -> Readiness:
    return workloads.deployment(look(live, age=age, replicasets=[replica_set()], pods=list(found)))


def test_a_rollout_is_done_when_everything_is_new_and_available() -> None:
    assert rollout(deployment(**counts(2, 2, 2))).state is State.DONE
    assert rollout(deployment(wanted=0)).state is State.DONE
    assert rollout({**deployment(), "spec": {"replicas": 2, "paused": True}}).state is State.DONE


@pytest.mark.parametrize(
    ("live", "message"),
    [
        (deployment(generation=4, **counts(2, 2, 2)), "Waiting for the Deployment controller to see the change"),
        (deployment(**counts(1, 2, 1)), "Waiting for app ReplicaSet to be available (1/2 Pods available)"),
        (deployment(**counts(2, 3, 2)), "Waiting for 1 Pods of the previous ReplicaSet to be gone"),
        (deployment(**counts(2, 2, 1)), "Waiting for app ReplicaSet to be available (1/2 Pods available)"),
    ],
)
def test_a_rollout_says_what_it_waits_for(live: Object, message: str) -> None:
    answer = rollout(live, pod(**unready(container("ContainerCreating"))))
    assert (answer.state, answer.message) == (State.WAITING, message)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_rollout_is_never_done_short_of_its_replicas(wanted: int, updated: int, total: int, available: int) -> None:
    done = rollout(deployment(wanted=wanted, **counts(updated, total, available))).state is State.DONE
    assert done == (wanted == updated == total == available)


def test_a_missed_deadline_fails_with_the_pods_reasons() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}
    answer = rollout(deployment(conditions=[late], **counts(1, 2, 0)), pod(**unready(container())))
    assert answer.state is State.FAILED
    assert answer.reasons == (
        "[ProgressDeadlineExceeded] has timed out",
        "[Pod apps/web-1]: containers with unready status: [app]",
    )


@pytest.mark.parametrize(
    ("status", "patience"),
    [
        (container("InvalidImageName"), 0),
        (container("ErrImageNeverPull"), 0),
        (container("CreateContainerConfigError"), 5),
        (container("ImagePullBackOff"), 15),
        (container("ErrImagePull"), 15),
        (container("CrashLoopBackOff", restarts=1, lastState={"terminated": {"exitCode": 1}}), 15),
        (container("CrashLoopBackOff", restarts=2, lastState={"terminated": {"exitCode": 1}}), 0),
    ],
)
def test_hopeless_pods_end_a_rollout_when_patience_is_over(status: Object, patience: float) -> None:
    live = deployment(**counts(1, 2, 0))
    assert rollout(live, pod(**unready(status)), age=patience).state is State.FAILED
    if patience:
        assert rollout(live, pod(**unready(status)), age=patience - 0.1).state is State.WAITING


@pytest.mark.parametrize(
    "found",
    [
        pod(**unready(container("ContainerCreating"))),
        pod(**unready(container("CreateContainerConfigError", "failed to sync secret cache: timed out"))),
        pod(**unready(container("", restarts=5, state={"running": {}}, lastState={"terminated": {"exitCode": 1}}))),
        pod(owned_by="old-rs", **unready(container("InvalidImageName"))),
        {**pod(**unready(container("InvalidImageName"))), "metadata": {**owner("rs"), "deletionTimestamp": "now"}},
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu"}]),
    ],
)
def test_pods_that_may_recover_or_are_not_the_rollouts_do_not_end_it(found: Object) -> None:
    assert rollout(deployment(**counts(1, 2, 0)), found, age=3600).state is State.WAITING


def test_refused_pods_end_a_rollout_after_a_while() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
    live = deployment(conditions=[refused])
    assert rollout(live, age=14).state is State.WAITING
    assert "[FailedCreate] exceeded quota: q" in rollout(live, age=14).reasons
    assert rollout(live, age=15).state is State.FAILED


def test_a_pods_problem_is_told_in_full() -> None:
    crashed = {
        "terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z", "message": "no db"}
    }
    told = pods.problem(pod(**unready(container("CrashLoopBackOff", "back-off 10s", restarts=1, lastState=crashed))))
    assert told == (
        "[Pod apps/web-1]: containers with unready status: [app] [CrashLoopBackOff] back-off 10s "
        "container 'app' terminated at 2026-01-01T00:00:00Z (Error: exit code 3) no db"
    )
    waits = pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu"}])
    assert pods.problem(waits) == "[Pod apps/web-1]: 0/1 nodes: Insufficient cpu"
    assert pods.problem(pod(conditions=[{"type": "Ready", "status": "True"}])) == ""


def test_a_status_shows_a_pod_only_when_something_is_wrong_with_it() -> None:
    starting, broken = (
        pod(**unready(container("ContainerCreating"))),
        pod(**unready(container("ErrImagePull", "not found"))),
    )
    assert pods.alarm([starting]) == ""
    assert "[ErrImagePull] not found" in pods.alarm([starting, broken])


def stateful_set(*, strategy: Object | None = None, current: str = "b", **status: int) -> Object:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "db", "uid": "s", "generation": 2},
        "spec": {"replicas": 3, "updateStrategy": strategy or {"type": "RollingUpdate"}},
        "status": {"observedGeneration": 2, "currentRevision": current, "updateRevision": "b", **status},
    }


@pytest.mark.parametrize(
    ("live", "state"),
    [
        (stateful_set(replicas=3, readyReplicas=3, updatedReplicas=3), State.DONE),
        (stateful_set(replicas=3, readyReplicas=2, updatedReplicas=3), State.WAITING),
        (stateful_set(current="a", replicas=3, readyReplicas=3, updatedReplicas=1), State.WAITING),
        (stateful_set(strategy={"type": "OnDelete"}, current="a", replicas=3, readyReplicas=3), State.DONE),
        (
            stateful_set(
                strategy={"rollingUpdate": {"partition": 2}},
                current="a",
                replicas=3,
                readyReplicas=3,
                updatedReplicas=1,
            ),
            State.DONE,
        ),
    ],
)
def test_stateful_sets(live: Object, state: State) -> None:
    assert workloads.stateful_set(look(live)).state is state


def test_daemon_sets_and_their_pods() -> None:
    live = {
        "kind": "DaemonSet",
        "metadata": {"name": "collector", "uid": "ds", "generation": 1},
        "status": {
            "observedGeneration": 1,
            "desiredNumberScheduled": 2,
            "updatedNumberScheduled": 2,
            "numberAvailable": 1,
            "numberReady": 1,
        },
    }
    assert workloads.daemon_set(look(live)).reasons == ("1 out of 2 Pods are available",)
    broken = pod(owned_by="ds", **unready(container("InvalidImageName")))
    assert workloads.daemon_set(look(live, pods=[broken])).state is State.FAILED
    live["status"] |= {"numberAvailable": 2, "numberReady": 2}
    assert workloads.daemon_set(look(live)).state is State.DONE


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, State.WAITING),
        ({"startTime": "t", "active": 1}, State.WAITING),
        ({"startTime": "t", "conditions": [{"type": "Complete", "status": "True"}]}, State.DONE),
        ({"startTime": "t", "conditions": [{"type": "Failed", "status": "True", "reason": "R"}]}, State.FAILED),
    ],
)
def test_jobs(status: Object, state: State) -> None:
    live = {"kind": "Job", "metadata": {"name": "j", "uid": "j"}, "spec": {}, "status": status}
    assert workloads.job(look(live)).state is state
    assert workloads.job(look({**live, "spec": {"suspend": True}, "status": {}})).state is State.DONE


def service(**spec: Any) -> Object:
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, **spec}}


def endpoints(*ready: bool, terminating: bool = False, name: str = "web") -> Object:
    found = [{"conditions": {"ready": value, "terminating": terminating}} for value in ready]
    return {"metadata": {"labels": {"kubernetes.io/service-name": name}}, "endpoints": found}


@pytest.mark.parametrize(
    ("slices", "workloads_found", "age", "state"),
    [
        ([endpoints(True, True)], [], 0, State.DONE),
        ([endpoints(True), endpoints(False)], [], 0, State.WAITING),
        ([endpoints(False)], [], 3600, State.WAITING),
        ([endpoints(True), endpoints(False, terminating=True)], [], 0, State.DONE),
        ([endpoints(True, name="other")], [], 0, State.WAITING),
        ([], [], 9.9, State.WAITING),
        ([], [], 10, State.DONE),
        ([], [{"spec": {"replicas": 0}}], 0, State.DONE),
        ([], [{"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}], 0, State.WAITING),
    ],
)
def test_services(slices: list[Object], workloads_found: list[Object], age: float, state: State) -> None:
    sight = look(service(), age=age, endpointslices=slices, deployments=workloads_found)
    assert networking.service(sight).state is state


def test_a_service_waits_no_longer_than_there_is_hope_for_its_pods() -> None:
    broken = pod(**unready(container("InvalidImageName", "bad")))
    answer = networking.service(look(service(), endpointslices=[endpoints(False)], pods=[broken]))
    assert answer.state is State.FAILED
    assert "[InvalidImageName] bad" in answer.reasons[1]
    late = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}
    workload = {"status": {"conditions": [late]}}
    answer = networking.service(look(service(), endpointslices=[endpoints(False)], deployments=[workload]))
    assert answer.reasons[1] == "[ProgressDeadlineExceeded] has timed out"


def test_services_that_direct_no_traffic_are_done_and_balancers_need_an_address() -> None:
    for spec in ({"selector": None}, {"clusterIP": "None"}, {"type": "ExternalName"}):
        assert networking.service(look(service(**spec))).state is State.DONE
    balancer = service(type="LoadBalancer", selector=None)
    assert networking.service(look(balancer)).state is State.WAITING
    balancer["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    assert networking.service(look(balancer)).state is State.DONE


def test_ingresses_wait_for_services_then_for_an_address() -> None:
    paths = [{"backend": {"service": {"name": "web"}}}, {"backend": {"service": {"name": "ext"}}}]
    live: Object = {"metadata": {"name": "in"}, "spec": {"rules": [{"http": {"paths": paths}}]}, "status": {}}
    external = {"metadata": {"name": "ext"}, "spec": {"type": "ExternalName"}}
    missing = networking.ingress(look(live, services=[external]))
    assert missing.reasons == ("Ingress has at least one rule with an unavailable target endpoint: Service web",)
    served = look(live, services=[external], endpointslices=[endpoints(True)])
    assert "loadBalancer field was not updated" in networking.ingress(served).reasons[0]
    live["status"] = {"loadBalancer": {"ingress": [{"hostname": "x"}]}}
    assert networking.ingress(served).state is State.DONE


@pytest.mark.parametrize(
    ("phase", "name", "mode", "state"),
    [
        ("Bound", "fast", "Immediate", State.DONE),
        ("Pending", "fast", "Immediate", State.WAITING),
        ("Pending", "fast", "WaitForFirstConsumer", State.DONE),
        ("Pending", "", "WaitForFirstConsumer", State.DONE),
        ("Lost", "fast", "Immediate", State.FAILED),
    ],
)
def test_claims(phase: str, name: str, mode: str, state: State) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    found = {"metadata": {"name": "fast", "annotations": default}, "volumeBindingMode": mode}
    live = {"spec": {"storageClassName": name}, "status": {"phase": phase}}
    assert others.persistent_volume_claim(look(live, storageclasses=[found])).state is state


def test_definitions_quotas_tokens_and_namespaces() -> None:
    established = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
    assert others.custom_resource_definition(look(established)).state is State.DONE
    assert others.custom_resource_definition(look({})).state is State.WAITING
    taken = {"status": {"conditions": [{"type": "NamesAccepted", "status": "False", "reason": "Taken"}]}}
    assert others.custom_resource_definition(look(taken, age=2)).state is State.FAILED
    assert others.resource_quota(look({"spec": {"hard": {"pods": "1"}}})).state is State.WAITING
    assert others.secret(look({"type": "kubernetes.io/service-account-token"})).state is State.WAITING
    assert others.secret(look({"type": "Opaque"})).state is State.DONE
    assert others.namespace(look({"status": {"phase": "Terminating"}})).state is State.FAILED


def test_any_kind_by_its_common_conditions() -> None:
    def state(*conditions: Object, **status: Any) -> State:
        live = {"metadata": {"generation": 2}, "status": {"conditions": list(conditions), **status}}
        return others.anything(look(live)).state

    assert state() is State.DONE
    assert state(observedGeneration=1) is State.WAITING
    assert state({"type": "Ready", "status": "False"}) is State.WAITING
    assert state({"type": "Ready", "status": "True"}) is State.DONE
    assert state({"type": "Reconciling", "status": "True"}) is State.WAITING
    assert state({"type": "Stalled", "status": "True"}) is State.FAILED


CERTIFICATE = {
    "metadata": {"generation": 2},
    "status": {
        "phase": "Issued",
        "count": 3,
        "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}],
    },
}


@pytest.mark.parametrize(
    ("told", "met"),
    [
        ("condition=Ready", True),
        ("condition=ready=true", True),
        ("condition=Ready=False", False),
        ("condition=Missing", False),
        ("jsonpath={.status.phase}=Issued", True),
        ("jsonpath={.status.phase}=Pending", False),
        ("jsonpath={.status.count}=3", True),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.nothing}", False),
        ("jsonpath=.status.conditions[0].type", True),
        ('["condition=Ready", "jsonpath={.status.phase}=Issued"]', True),
        ('["condition=Ready", "jsonpath={.status.phase}=Pending"]', False),
    ],
)
def test_wait_for(told: str, met: bool) -> None:
    assert (wait_for.parse(told)(look(CERTIFICATE)).state is State.DONE) == met


def test_a_condition_of_an_older_generation_does_not_count() -> None:
    assert (
        wait_for.parse("condition=Ready")(look({**CERTIFICATE, "metadata": {"generation": 3}})).state is State.WAITING
    )


@pytest.mark.parametrize("told", ["Ready", "[]", "jsonpath={}", "jsonpath={.a[?(@.b)]}"])
def test_wait_for_refuses_what_it_cannot_read(told: str) -> None:
    with pytest.raises(PluginError, match=r"pulumi\.com/waitFor"):
        wait_for.parse(told)


def test_what_holds_an_object_is_told() -> None:
    stuck = {
        "metadata": {"finalizers": ["a/b"]},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"conditions": [{"type": "NamespaceContentRemaining", "status": "True", "message": "pods. has 1"}]},
    }
    assert holding(stuck) == ["pods. has 1", "finalizers might be preventing deletion (a/b, kubernetes)"]
    assert holding({"metadata": {}}) == []


def test_ages_start_over_when_something_was_not_so_for_a_look() -> None:
    now = 0.0
    ages = Ages(clock=lambda: now)
    assert ages.of("a") == 0
    ages.next_look()
    now = 5.0
    assert ages.of("a") == 5
    ages.next_look()
    ages.next_look()
    now = 9.0
    assert ages.of("a") == 0


def test_a_watch_that_lags_behind_is_not_believed() -> None:
    def version(number: str, uid: str = "u") -> Object:
        return {"metadata": {"uid": uid, "resourceVersion": number}}

    assert is_newer(version("10"), version("9"))
    assert is_newer(version("9"), version("9"))
    assert not is_newer(version("9"), version("10"))
    assert not is_newer(version("11", uid="other"), version("10"))


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [("In", ["web"], True), ("NotIn", ["web"], False), ("Exists", [], True), ("DoesNotExist", [], False)],
)
def test_label_selectors(operator: str, values: list[str], expected: bool) -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}
    assert selector_matches(selector, {"app": "web"}) is expected
    assert not selector_matches({"matchLabels": {"app": "db"}}, {"app": "web"})
