"""What service.yaml may say of a kind, and what it is told where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.catalog import CatalogError, load
from services.spec import ServiceSpec
from services.workloads import Kind

CRON_JOB = "name: a\nkind: CronJob\ncronJob: {schedule: '30 2 * * *'}\n"


def problems(root: Path, *texts: str) -> list[str]:
    for text in texts:
        folder = root / text.split()[1]
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
        (folder / "service.yaml").write_text(text)
    with pytest.raises(CatalogError) as raised:
        load(root)
    return list(raised.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: a\nkind: Wroker\n",
            "services/a/service.yaml:2: `kind` is 'Wroker'; it should be 'Service', 'Worker' or",
        ),
        ("name: a\nkind: CronJob\n", "services/a/service.yaml:2: a CronJob needs `cronJob` with a schedule"),
        ("name: a\ncronJob: {schedule: '@daily'}\n", "services/a/service.yaml:2: `cronJob` needs `kind: CronJob`"),
        ("name: a\nkind: Worker\nport: 9000\n", "services/a/service.yaml:3: a Worker has no port and no Service"),
        (
            "name: a\nkind: Worker\nchecks: [{get: /}]\n",
            "services/a/service.yaml:3: a Worker gets no HTTP requests",
        ),
        ("name: a\nkind: Worker\nhealth: {live: /x}\n", "services/a/service.yaml:3: a Worker has no port of its own"),
        ("name: a\nkind: Worker\nhealth: {tcp: {}}\n", "services/a/service.yaml:3: a Worker has no port of its own"),
        (f"{CRON_JOB}replicas: 2\n", "services/a/service.yaml:4: a CronJob starts Jobs on its schedule"),
        (
            f"{CRON_JOB}health: {{exec: [x]}}\n",
            "services/a/service.yaml:4: a CronJob runs Jobs, and their exit codes",
        ),
        (
            "name: a\nkind: CronJob\ncronJob: {schedule: '61 2 * * *'}\n",
            "services/a/service.yaml:3: `cronJob.schedule`: '61 2 * * *' has '61' as minute, which is invalid; ",
        ),
        (
            "name: a\nkind: CronJob\ncronJob: {schedule: '2 * * *'}\n",
            "services/a/service.yaml:3: `cronJob.schedule`: '2 * * *' has 4 fields; allowed are five",
        ),
        (
            "name: a\nkind: CronJob\ncronJob: {schedule: '@daily', timeZone: Mars}\n",
            "services/a/service.yaml:3: `cronJob.timeZone`: 'Mars' is not a time zone",
        ),
        (
            "name: a\nhealth: {grpc: {}, tcp: {}}\n",
            "services/a/service.yaml:2: `health`: grpc and tcp are given; give one",
        ),
        (
            "name: a\nhealth:\n  live: {}\n",
            "services/a/service.yaml:3: `health.live`: none is given; give one of httpGet",
        ),
        (
            "name: a\nhealth:\n  live: {grcp: {}}\n",
            "services/a/service.yaml:3: unknown key `health.live.grcp`; did you mean `grpc`? Allowed here: exec, grpc,",
        ),
        ("name: a\nmigration: {command: []}\n", "services/a/service.yaml:2: `migration.command` is []; "),
        ("name: a\nmigration: {args: [x]}\n", "services/a/service.yaml:2: `migration.command` is missing"),
    ],
)
def test_what_a_kind_has_no_use_for_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path / "services", text)
    assert problem.startswith(expected)


def test_a_worker_cannot_be_called(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "services", "name: b\nkind: Worker\n", "name: a\ncalls: [b]\n")
    assert problem == "services/a/service.yaml:2: calls `b`, which is a Worker and has no port; remove the call"


def test_the_pods_of_a_migration_have_a_name_that_no_service_has(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "services", "name: a\nmigration: {command: [x]}\n", "name: a-migration\n")
    assert "the name `a-migration` is already used by services/a/service.yaml" in problem


def test_defaults_of_an_environment_that_a_kind_has_no_use_for_do_not_count(tmp_path: Path) -> None:
    from services.catalog import Overrides  # noqa: PLC0415

    folder = tmp_path / "services" / "a"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch AS test\nFROM scratch AS runtime\n")
    (folder / "service.yaml").write_text(CRON_JOB)
    (service,) = load(tmp_path / "services", Overrides({}, {"replicas": 2}))
    assert service.spec.kind == "CronJob"


@pytest.mark.parametrize(
    "schedule", ["* * * * *", "*/5 0-6,22 1 jan-mar MON", "@daily", "@every 1h30m", "0 0 ? * 0", "1-59/2 * * * *"]
)
def test_schedules_that_kubernetes_takes(schedule: str) -> None:
    ServiceSpec.model_validate({"name": "a", "kind": "CronJob", "cronJob": {"schedule": schedule}})


@pytest.mark.parametrize(
    ("kind", "health", "expected"),
    [
        ("Service", {}, {"startup": ["httpGet"], "live": ["httpGet"], "ready": ["httpGet"]}),
        ("Service", {"grpc": {}}, {"startup": ["grpc"], "live": ["grpc"], "ready": ["grpc"]}),
        ("Service", {"tcp": {}, "live": "/l"}, {"startup": ["tcp"], "live": ["httpGet"], "ready": ["tcp"]}),
        ("Service", {"ready": {"exec": ["x"]}}, {"startup": ["httpGet"], "live": ["httpGet"], "ready": ["exec"]}),
        ("Worker", {}, {}),
        ("Worker", {"live": {"exec": {"command": ["x"]}}}, {"live": ["exec"]}),
        ("CronJob", {}, {}),
    ],
)
def test_each_kind_is_asked_what_it_can_answer(kind: Kind, health: object, expected: object) -> None:
    spec = ServiceSpec.model_validate({"name": "a", "health": health})
    assert {name: probe.given for name, probe in spec.health.probes(kind).items()} == expected
