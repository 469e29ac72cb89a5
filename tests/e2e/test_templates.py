"""What `slipway new` makes is released as it is: services in each language, a worker, a cron job that runs."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import languages

pytestmark = [pytest.mark.lab, pytest.mark.e2e, pytest.mark.thorough]

JOB_SECONDS = 60
# What a release of each changes, and how it answers then.
CHANGES = {
    "go": ({"main.go": "Hello, ", "main_test.go": "Hello, "}, "/hello", "Good day, world!"),
    "node": ({"src/service.js": "Hello, ", "test/service.test.js": "Hello, "}, "/hello", "Good day, world!"),
    "java": (
        {"src/main/java/app/Service.java": "Hello, ", "src/test/java/app/ServiceTest.java": "Hello, "},
        "/hello",
        "Good day, world!",
    ),
    "static": ({"site/index.html": "Hello, "}, "/", "Good day, world!"),
}


def answer(project: Any, service: str, path: str) -> str:
    with urllib.request.urlopen(project.url(service) + path, timeout=10) as response:  # noqa: S310 (of the lab)
        return str(response.read().decode())


@pytest.mark.parametrize("template", CHANGES)
def test_a_service_in_this_language_is_released_changed_and_taken_back(
    project: Any, template: str, exports: dict[str, str], tmp_path: Path
) -> None:
    for name in ("user_service", "order_service", "kit"):
        shutil.rmtree(project.folder / "services" / name)
    made = project.slipway("new", "greeter", "--template", template, "--port", "9000")
    assert made.code == 0, made.output
    arguments = languages.build_arguments(template, exports, tmp_path)
    project.configure(f"  slipway:services: {json.dumps({'greeter': {'build': {'args': arguments}}})}")
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    files, path, expected = CHANGES[template]
    assert "Hello, world!" in answer(project, "greeter", path)

    # A failing unit test lets nothing out.
    file = project.folder / "services/greeter" / next(iter(files))
    good = file.read_text()
    file.write_text(good.replace("greeting", "greetings").replace("sample", "simple").replace("greeter", "gretter"))
    failing = project.slipway("up", "-s", "e2e", "--yes")
    assert failing.code == 1, failing.output
    assert "Hello, world!" in answer(project, "greeter", path)
    file.write_text(good)

    for name, old in files.items():
        changed = project.folder / "services/greeter" / name
        changed.write_text(changed.read_text().replace(old, "Good day, "))
    second = project.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert expected in answer(project, "greeter", path)
    back = project.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert "Hello, world!" in answer(project, "greeter", path)
    # It ends in order, well before it would be killed.
    begun = time.monotonic()
    deleted = project.run("kubectl", f"--namespace={project.namespace}", "delete", "pods", "--all", "--wait")
    assert deleted.code == 0, deleted.output
    assert time.monotonic() - begun < 20


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
