"""What each kind of service is declared as."""

from __future__ import annotations

from typing import Any

import pytest

from components.release import KINDS
from components.rollouts import AwaitedRollouts
from components.workload import WorkloadArgs
from services.spec import ServiceSpec
from tests.components.conftest import Declare, Recorder

DEPLOYMENT, SERVICE = "kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Service"
CRON_JOB, JOB = "kubernetes:batch/v1:CronJob", "kubernetes:batch/v1:Job"
POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
IMAGE = "registry.example/api@sha256:1"


def declared(declare: Declare, document: dict[str, Any], image: str = IMAGE) -> Recorder:
    spec = ServiceSpec.model_validate({"name": "api", **document})
    args = WorkloadArgs(spec, image, "shop", AwaitedRollouts(None), secrets=dict.fromkeys(spec.secrets, "x"))
    return declare(lambda: KINDS[spec.kind]("api", args))


def test_a_worker_has_pods_and_nothing_that_leads_to_them(declare: Declare) -> None:
    recorded = declared(declare, {"kind": "Worker", "health": {"live": {"exec": ["true"]}}})
    assert recorded.names(SERVICE) == []
    spec = recorded.inputs(DEPLOYMENT, "api")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert "ports" not in container
    assert container["livenessProbe"]["exec"] == {"command": ["true"]}
    assert "readinessProbe" not in container
    assert spec["minReadySeconds"] == 10
    assert spec["selector"]["matchLabels"].items() < spec["template"]["metadata"]["labels"].items()
    assert recorded.inputs(POLICY, "api")["spec"]["ingress"] == []
    assert recorded.inputs("kubernetes:core/v1:ConfigMap", "api")["data"] == {}


@pytest.mark.parametrize(
    ("document", "expected"),
    [({"rollout": {"minReadySeconds": 0}}, None), ({"health": {"ready": {"exec": ["true"]}}}, None), ({}, 10)],
)
def test_a_pod_that_nobody_asks_must_run_for_a_while(declare: Declare, document: Any, expected: int | None) -> None:
    spec = declared(declare, {"kind": "Worker", **document}).inputs(DEPLOYMENT, "api")["spec"]
    assert spec.get("minReadySeconds") == expected


def test_a_port_that_a_probe_asks_is_one_of_the_container(declare: Declare) -> None:
    recorded = declared(declare, {"health": {"grpc": {"port": 9000}, "live": {"tcp": {}}}})
    (container,) = recorded.inputs(DEPLOYMENT, "api")["spec"]["template"]["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 8080, "health-9000": 9000}
    assert container["readinessProbe"]["grpc"] == {"port": 9000}


def test_a_cron_job_runs_to_its_end_within_its_deadline(declare: Declare) -> None:
    wanted = {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "activeDeadlineSeconds": 60, "backoffLimit": 2}
    recorded = declared(declare, {"kind": "CronJob", "cronJob": wanted})
    assert recorded.names(DEPLOYMENT) == recorded.names(SERVICE) == []
    spec = recorded.inputs(CRON_JOB, "api")["spec"]
    job = spec.pop("jobTemplate")["spec"]
    assert spec == {
        "schedule": "30 2 * * *",
        "timeZone": "Europe/Berlin",
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "suspend": False,
    }
    assert (job["activeDeadlineSeconds"], job["backoffLimit"]) == (120, 2)
    pod = job["template"]["spec"]
    assert (pod["restartPolicy"], pod["activeDeadlineSeconds"]) == ("Never", 60)
    assert not {"ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"} & set(pod["containers"][0])


def migration(declare: Declare, image: str = IMAGE, **document: Any) -> dict[str, Any]:
    return declared(declare, {"migration": {"command": ["migrate"], "args": ["up"]}, **document}, image).inputs(
        JOB, "api"
    )


def test_a_migration_is_a_job_that_no_service_leads_to(declare: Declare) -> None:
    recorded = declared(declare, {"migration": {"command": ["migrate"], "destructive": True}})
    job = recorded.inputs(JOB, "api")
    labels = job["spec"]["template"]["metadata"]["labels"]
    selector = recorded.inputs(SERVICE, "api")["spec"]["selector"]
    assert not selector.items() <= labels.items()
    policy = recorded.inputs(POLICY, "api-migration")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert (job["spec"]["backoffLimit"], job["spec"]["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["migrate"]
    assert job["metadata"]["labels"]["slipway.dev/migration"] == "api"
    assert job["metadata"]["annotations"]["slipway.dev/migration-destructive"] == "true"


def test_another_image_or_command_is_another_migration(declare: Declare) -> None:
    names = {
        migration(declare)["metadata"]["name"],
        migration(declare, f"{IMAGE}2")["metadata"]["name"],
        migration(declare, migration={"command": ["migrate"]})["metadata"]["name"],
    }
    assert len(names) == 3
    assert migration(declare)["metadata"]["name"] in names
