"""Which Job runs a migration: the recorded one where its image and command ran, else one of another name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from components.migration import RecordedMigrations
from slipway.cluster.client import Cluster, NotFoundError

IMAGE = "registry.example/web@sha256:1"
RAN = {"slipway.dev/migration-run": "a", "slipway.dev/migration-environment": "b"}
COMPONENT = "urn:pulumi:dev::slipway::slipway:index:Microservice::web"
FAILED = {"metadata": {"uid": "u"}, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
COMPLETE = {"metadata": {"uid": "u"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}


@dataclass
class Jobs:
    """The Jobs of a cluster, by name."""

    known: dict[str, Any] = field(default_factory=dict)

    def read(self, path: str) -> Any:
        name = path.rpartition("/")[2]
        if name not in self.known:
            raise NotFoundError(path)
        return self.known[name]


def state(*, rolled_out: bool = True, ran: dict[str, str] = RAN) -> dict[str, Any]:
    def resource(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        urn = f"{COMPONENT[: -len('::web')]}$kubernetes:{kind}::web"
        inputs = {"metadata": metadata, "spec": spec}
        return {"urn": urn, "type": f"kubernetes:{kind}", "custom": True, "parent": COMPONENT, "inputs": inputs}

    pod = {"template": {"spec": {"containers": [{"name": "web", "image": IMAGE if rolled_out else "older"}]}}}
    about = {
        "name": "web-recorded",
        "labels": {"slipway.dev/migration": "web"},
        "annotations": ran,
    }
    return {
        "resources": [
            resource("batch/v1:Job", about, {"recorded": True}),
            resource("apps/v1:Deployment", {"name": "web"}, pod),
        ]
    }


def chosen(present: dict[str, Any], jobs: dict[str, Any], *, again: bool = False) -> dict[str, Any]:
    cluster = Jobs(jobs)
    recorded = RecordedMigrations.of(lambda: cast(Cluster, cluster), present, again=again)
    return recorded.job("web", "shop", IMAGE, RAN, {"wanted": True})


@pytest.mark.parametrize("jobs", [{"web-recorded": COMPLETE}, {"web-recorded": {"metadata": {}}}, {}])
def test_what_ran_or_runs_stays_as_it_is_recorded(jobs: dict[str, Any]) -> None:
    assert chosen(state(), jobs) == {"name": "web-recorded", "spec": {"recorded": True}}


@pytest.mark.parametrize("moved", [*RAN, ""], ids=["image or command", "environment", "neither is recorded"])
def test_another_image_or_database_is_another_job(moved: str) -> None:
    ran = {**RAN, moved: "before"} if moved else {}
    job = chosen(state(ran=ran), {"web-recorded": COMPLETE})
    assert job["name"] != "web-recorded"
    assert job["spec"] == {"wanted": True}
    same_name = state(ran=ran)
    same_name["resources"][0]["inputs"]["metadata"]["name"] = job["name"]
    assert chosen(same_name, {job["name"]: COMPLETE})["name"] != job["name"]


def test_every_migration_runs_again_where_that_is_asked_for() -> None:
    first = chosen(state(), {"web-recorded": COMPLETE}, again=True)
    assert first["name"] != "web-recorded"
    recorded = state()
    recorded["resources"][0]["inputs"]["metadata"]["name"] = first["name"]
    second = chosen(recorded, {first["name"]: COMPLETE}, again=True)
    assert second["name"] not in (first["name"], "web-recorded")
    assert chosen({}, {first["name"]: COMPLETE}, again=True)["name"] == second["name"]


def test_a_job_that_failed_runs_again_under_another_name() -> None:
    first = chosen({}, {})
    again = chosen({}, {first["name"]: FAILED})
    assert again["name"] not in (first["name"], "web-recorded")
    assert chosen(state(), {"web-recorded": FAILED})["spec"] == {"wanted": True}
    assert chosen({}, {first["name"]: FAILED}) == again
    assert chosen({}, {first["name"]: COMPLETE}) == first


def test_a_job_that_was_deleted_before_its_image_was_rolled_out_runs_again() -> None:
    job = chosen(state(rolled_out=False), {})
    assert job["spec"] == {"wanted": True}
    recorded = state(rolled_out=False)
    recorded["resources"][0]["inputs"]["metadata"]["name"] = job["name"]
    assert chosen(recorded, {})["name"] != job["name"]
