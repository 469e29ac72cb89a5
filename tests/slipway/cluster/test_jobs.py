"""Jobs that ended on the lab: what is said of a migration, and of the last Job of a cron job."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from slipway.cluster.client import Cluster, NotFoundError
from slipway.cluster.diagnosis import Cause, JobEvidence, Log, diagnose_job, screen
from slipway.cluster.diagnosis.diagnose import MAX_LINES
from slipway.cluster.diagnosis.model import Finding
from slipway.cluster.rollouts import AwaitedJob, RolloutError
from slipway.cluster.verification import (
    cron_job_verdicts,
    migration_problems,
    recorded_cron_jobs,
    recorded_migrations,
)
from slipway.state.checkpoint import ResourceState

RECORDED = Path(__file__).parent / "recorded_jobs"
IMAGE = "registry.example/nightly@sha256:" + "1" * 64


def content(name: str) -> dict[str, Any]:
    return dict(json.loads((RECORDED / f"{name}.json").read_text()))


@dataclass
class RecordedCluster:
    """Answers as the lab did of one Job, which a CronJob may own."""

    content: dict[str, Any]
    cron_job: Mapping[str, Any] = field(default_factory=dict)

    def read(self, path: str) -> Any:
        if not path.endswith(f"/jobs/{self.content['job']['metadata']['name']}"):
            raise NotFoundError(f"{path} does not exist")
        return self.content["job"]

    def job_evidence(self, job: Any) -> JobEvidence:
        return JobEvidence(job, (), self.content["pods"], self.content["events"], (), "kubectl -n jobs-capture")

    def with_logs(self, evidence: JobEvidence, finding: Finding) -> JobEvidence:
        logs = [Log(**log) for log in self.content["logs"] if log["pod"] == finding.pod]
        return JobEvidence(evidence.deployment, (), evidence.pods, evidence.events, logs, evidence.kubectl)

    def cron_jobs(self, _namespace: str) -> tuple[dict[str, Any], list[Any]]:
        return ({"nightly": self.cron_job} if self.cron_job else {}), [self.content["job"]]


def awaited(found: dict[str, Any]) -> AwaitedJob:
    return AwaitedJob(lambda: cast(Cluster, RecordedCluster(found)), "jobs-capture", found["job"]["metadata"]["name"])


@pytest.mark.parametrize(
    ("name", "cause", "words"),
    [
        ("crash", Cause.CRASH, ["the migration of web failed", "exit code 3", "adding column vat"]),
        ("hanging", Cause.DEADLINE, ["waiting for a lock", "migration.activeDeadlineSeconds"]),
        ("not-in-image", Cause.ENTRYPOINT, ["`/no/such/program` cannot be run", "no such file", "Fix `command`"]),
    ],
)
def test_a_migration_that_failed_ends_the_wait_with_its_log(name: str, cause: Cause, words: list[str]) -> None:
    found = content(name)
    with pytest.raises(RolloutError) as raised:
        awaited(found).done()
    text = " ".join(str(raised.value).split())  # however wide the terminal is
    assert [word for word in words if word not in text] == []
    assert "--previous" not in text
    assert len(text.splitlines()) <= MAX_LINES + 1
    evidence = RecordedCluster(found).job_evidence(found["job"])
    assert diagnose_job(evidence).cause is cause


def test_a_job_whose_image_is_nowhere_is_waited_for_no_longer_than_it_may_take() -> None:
    job = awaited(content("no-image"))
    assert not job.done()
    job._first_seen = {key: since - 3.0 for key, since in job._first_seen.items()}
    with pytest.raises(RolloutError, match="has an image that its registry does not have"):
        job.done()


def test_a_job_that_is_done_or_declared_not_to_run_is_waited_for_no_longer() -> None:
    assert awaited(content("done")).done()
    suspended = content("crash")
    suspended["job"]["status"] = {}
    suspended["job"]["spec"]["suspend"] = True
    assert awaited(suspended).done()


def test_a_job_that_is_gone_did_its_work_before_unless_it_was_seen_at_work() -> None:
    found = content("no-image")
    cluster = RecordedCluster(found)
    job = AwaitedJob(lambda: cast(Cluster, cluster), "jobs-capture", "no-image")
    assert not job.done()
    found["job"]["metadata"]["name"] = "other"
    assert AwaitedJob(lambda: cast(Cluster, cluster), "jobs-capture", "no-image").done()
    with pytest.raises(RolloutError, match="was deleted before it ended"):
        job.done()


def test_a_job_that_deleted_its_pods_at_its_deadline_says_so() -> None:
    found = content("hanging")
    (failed,) = [each for each in found["job"]["status"]["conditions"] if each["type"] == "Failed"]
    failed |= {"reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}
    text = screen(diagnose_job(JobEvidence(found["job"])))
    assert "exceeded its deadline" in text
    assert "Job was active longer than specified deadline" in text


def cron_job(found: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A CronJob whose last Job is the recorded one."""
    owner = {"kind": "CronJob", "name": "nightly", "uid": "c"}
    found["job"]["metadata"] |= {"ownerReferences": [owner], "labels": {}}
    template = copy.deepcopy(found["job"]["spec"]["template"])
    return {
        "metadata": {"name": "nightly", "uid": "c"},
        "spec": {"jobTemplate": {"spec": {"template": template}}, **spec},
    }


def recorded(found: dict[str, Any]) -> ResourceState:
    image = found["job"]["spec"]["template"]["spec"]["containers"][0]["image"]
    pod = {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}
    spec = {"schedule": "30 2 * * *", "timeZone": "Etc/UTC", "jobTemplate": {"spec": pod}}
    urn = "urn:pulumi:dev::slipway::slipway:index:CronJob$kubernetes:batch/v1:CronJob::nightly"
    about = {"name": "nightly", "namespace": "shop"}
    return ResourceState(
        {"urn": urn, "type": "kubernetes:batch/v1:CronJob", "inputs": {"metadata": about, "spec": spec}}
    )


def verdicts(found: dict[str, Any], live: Mapping[str, Any]) -> list[Any]:
    return cron_job_verdicts(cast(Cluster, RecordedCluster(found, live)), recorded_cron_jobs([recorded(found)]))


def test_the_last_job_that_failed_is_named_with_its_log() -> None:
    found = content("crash")
    (verdict,) = verdicts(found, cron_job(found))
    assert verdict.problems == (
        "its last Job crash failed: its container ended with exit code 3, its log ends with: adding column vat",
    )


def test_a_job_of_the_release_before_says_nothing_of_this_one() -> None:
    found = content("crash")
    live = cron_job(found)
    live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"] = ["other"]
    (verdict,) = verdicts(found, live)
    assert verdict.problems == ()
    assert verdict.about == "CronJob at 30 2 * * * Etc/UTC, no Job of it has ended yet"


def test_a_cron_job_that_works_says_when_it_did() -> None:
    found = content("done")
    (verdict,) = verdicts(found, cron_job(found, suspend=True))
    assert verdict.problems == ()
    assert verdict.about.startswith("CronJob at 30 2 * * * Etc/UTC, suspended, last Job ended well at 20")


def test_a_cron_job_that_is_gone_or_runs_another_image_is_a_problem() -> None:
    found = content("done")
    assert verdicts(found, {})[0].problems == ("its CronJob is gone from the cluster",)
    live = cron_job(found)
    live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] = IMAGE
    assert f"container web is {IMAGE}" in verdicts(found, live)[0].problems[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("crash", "its migration failed: Job crash: its container ended with exit code 3, its log"), ("done", "")],
)
def test_a_migration_that_failed_is_a_problem_of_its_service(name: str, expected: str) -> None:
    found = content(name)
    resource = ResourceState({"urn": "u", "type": "kubernetes:batch/v1:Job", "inputs": found["job"]})
    problems = migration_problems(cast(Cluster, RecordedCluster(found)), recorded_migrations([resource]))
    assert problems.get("web", "").startswith(expected)
    assert bool(problems) == bool(expected)
