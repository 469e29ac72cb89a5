"""What `slipway new` makes is released as it is: a worker and a cron job, whose Job is then started once."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e, pytest.mark.thorough]

JOB_SECONDS = 60


def test_a_worker_and_a_cron_job_are_released_as_they_are_made(project: Any) -> None:
    for name in ("user_service", "order_service", "kit"):
        shutil.rmtree(project.folder / "services" / name)
    for template in ("worker", "cron"):
        made = project.slipway("new", f"sample-{template}", "--template", template)
        assert made.code == 0, made.output
    project.configure()
    released = project.slipway("up", "-s", "e2e", "--yes")
    assert released.code == 0, released.output
    assert set(project.deployments()) == {"sample-worker"}
    verified = project.slipway("verify", "-s", "e2e")
    assert verified.code == 0, verified.output
    assert "sample-cron: ok, CronJob at 30 2 * * * Etc/UTC, no Job of it has ended yet" in verified.output

    namespace = f"--namespace={project.namespace}"
    started = project.run("kubectl", namespace, "create", "job", "--from=cronjob/sample-cron", "by-hand")
    assert started.code == 0, started.output
    ended = project.run(
        "kubectl", namespace, "wait", "--for=condition=complete", "job/by-hand", f"--timeout={JOB_SECONDS}s"
    )
    assert ended.code == 0, ended.output
    assert "0 done" in project.run("kubectl", namespace, "logs", "job/by-hand").output
    deadline = time.monotonic() + JOB_SECONDS
    while "last Job ended well" not in (shown := project.slipway("verify", "-s", "e2e").output):
        assert time.monotonic() < deadline, shown
