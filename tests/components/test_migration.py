"""Which Job runs a migration: the recorded one where its image and command ran, else one of another name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from components.migration import RecordedMigrations
from slipway.cluster.client import Cluster, NotFoundError

IMAGE, RUN = "registry.example/web@sha256:1", "a"
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


def state(*, rolled_out: bool = True, run: str = RUN) -> dict[str, Any]:
    def resource(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        urn = f"{COMPONENT[: -len('::web')]}$kubernetes:{kind}::web"
        inputs = {"metadata": metadata, "spec": spec}
        return {"urn": urn, "type": f"kubernetes:{kind}", "custom": True, "parent": COMPONENT, "inputs": inputs}

    pod = {"template": {"spec": {"containers": [{"name": "web", "image": IMAGE if rolled_out else "older"}]}}}
    about = {
        "name": "web-recorded",
        "labels": {"slipway.dev/migration": "web"},
        "annotations": {"slipway.dev/migration-run": run},
    }
    return {
        "resources": [
            resource("batch/v1:Job", about, {"recorded": True}),
            resource("apps/v1:Deployment", {"name": "web"}, pod),
        ]
    }


def chosen(present: dict[str, Any], jobs: dict[str, Any], wanted: Any = None) -> dict[str, Any]:
    cluster = Jobs(jobs)
    recorded = RecordedMigrations.of(lambda: cast(Cluster, cluster), present)
    return recorded.job("web", "shop", IMAGE, RUN, wanted or {"wanted": True})


@pytest.mark.parametrize("jobs", [{"web-recorded": COMPLETE}, {"web-recorded": {"metadata": {}}}, {}])
def test_what_ran_or_runs_stays_as_it_is_recorded(jobs: dict[str, Any]) -> None:
    assert chosen(state(), jobs) == {"name": "web-recorded", "spec": {"recorded": True}}


def test_another_image_is_another_job() -> None:
    job = chosen(state(run="b"), {"web-recorded": COMPLETE})
    assert job["name"] != "web-recorded"
    assert job["spec"] == {"wanted": True}


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
