"""What the state says of a Deployment, held against what the cluster has."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.cli.diff import verdict_lines, verdicts_shape
from slipway.cluster.diagnosis import Evidence
from slipway.cluster.verification import ServiceVerdict, recorded_deployments, verdict
from slipway.state.checkpoint import ResourceState

IMAGE = "registry/a@sha256:" + "1" * 64
OTHER = "registry/a@sha256:" + "2" * 64
CHECKS = '[{"get":"/a","status":200}]'
URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::a"


def recorded(replicas: int | None = 1, checks: str = CHECKS) -> ResourceState:
    about = {"name": "a", "namespace": "dev", "annotations": {"slipway.dev/checks": checks}}
    spec = {"template": {"spec": {"containers": [{"name": "a", "image": IMAGE}]}}}
    spec |= {} if replicas is None else {"replicas": replicas}  # type: ignore[dict-item]
    return ResourceState(
        {"urn": URN, "type": "kubernetes:apps/v1:Deployment", "inputs": {"metadata": about, "spec": spec}}
    )


def evidence(
    image: str = IMAGE, running: str = IMAGE, replicas: int = 1, available: int = 1, seen: int = 2
) -> Evidence:
    deployment = {
        "metadata": {
            "name": "a",
            "uid": "d",
            "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}},
        "status": {
            "observedGeneration": seen,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": available,
        },
    }
    owner = {"ownerReferences": [{"uid": "d"}]}
    newest = {
        "metadata": {"name": "a-1", "uid": "r", "annotations": {"deployment.kubernetes.io/revision": "1"}, **owner}
    }
    status = {"containerStatuses": [{"name": "a", "imageID": running}]}
    pod = {"metadata": {"name": "a-1-x", "uid": "p", "ownerReferences": [{"uid": "r"}]}, "status": status}
    return Evidence(deployment, [newest], [pod])


def judged(found: Evidence | None, why: str = "", failing: tuple[str, ...] = (), **fields: Any) -> ServiceVerdict:
    (one,) = recorded_deployments([recorded(**fields)])
    return verdict(one, found, why, failing)


def test_all_is_well() -> None:
    found = judged(evidence())
    assert found.problems == ()
    assert verdict_lines(found) == ["a: ok, 1/1 pods on 11111111, 1 check met"]
    assert verdict_lines(judged(evidence(), checks="[]")) == ["a: ok, 1/1 pods on 11111111, no checks"]
    assert verdicts_shape("dev", [found])["ok"] is True


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "its Deployment is gone from the cluster"),
        (evidence(replicas=2, available=2), "the Deployment in the cluster has 2 replicas, the state says 1"),
        (evidence(available=0), "its rollout is not complete: 1 of 1 pods updated, 0 available: it crashes"),
        (evidence(seen=1), "the cluster has not started its last change yet (generation 2, seen 1)"),
        (evidence(image=OTHER), f"container a is {OTHER}, the state says {IMAGE}"),
        (evidence(running=OTHER), "pod a-1-x runs sha256:222222222222, the state says sha256:111111111111"),
    ],
)
def test_what_is_wrong_is_reported(found: Evidence | None, problem: str) -> None:
    (actual,) = judged(found, "it crashes").problems
    assert actual == problem
    assert verdicts_shape("dev", [judged(found)])["ok"] is False


def test_images_of_sidecars_are_compared_too() -> None:
    found = evidence()
    live: Any = found.deployment
    live["spec"]["template"]["spec"]["initContainers"] = [{"name": "proxy", "image": OTHER}]
    (problem,) = judged(found).problems
    assert problem == f"container proxy is {OTHER}, the state says none"


def test_the_same_image_under_another_name_is_the_same() -> None:
    assert judged(evidence(running=IMAGE.replace("registry/a", "mirror/b"))).problems == ()
    assert judged(evidence(running="")).problems == (), "a pod whose image is not known yet is told by its rollout"


def test_replicas_are_an_autoscalers_where_none_are_recorded() -> None:
    assert judged(evidence(replicas=5, available=5), replicas=None).problems == ()


def test_failing_and_unreadable_checks() -> None:
    found = judged(evidence(), failing=("a: GET /a answered 500: no; expected status 200 (asked 9 times in 10 s)",))
    assert found.problems == ("check failed: GET /a answered 500: no; expected status 200 (asked 9 times in 10 s)",)
    (problem,) = judged(evidence(), checks="{").problems
    assert "the checks recorded on it cannot be read" in problem


def test_each_problem_has_a_line() -> None:
    assert verdict_lines(judged(None, failing=("a: GET /a did not answer",))) == [
        "a: failed, its Deployment is gone from the cluster",
        "   and check failed: GET /a did not answer",
    ]
