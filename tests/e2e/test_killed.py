"""Killed in the middle: whatever a `kill -9` hits, the next command recovers alone, and no history is lost.

The second release follows the first, and a rollback goes back to it: each test kills one of them at another point.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SOURCE = "services/user_service/user_service/routes.py"
SETTINGS = "services/order_service/service.yaml"
FIRST, SECOND = "env: {LOG_LEVEL: info}", "env: {LOG_LEVEL: debug}"
CHANGED = '"""Second release. '
# What the command says when the point is reached, and how long after it the kill comes.
Point = tuple[str, float]


def point_id(point: Point) -> str:
    return point[0].replace(" ", "-")


def thorough(line_start: str, delay_seconds: float) -> Any:
    """One of the points that are tried only with SLIPWAY_TEST_ALL=1."""
    return pytest.param((line_start, delay_seconds), marks=pytest.mark.thorough)


def release_second(project: Any) -> None:
    """An image is built, a ConfigMap follows another, two Deployments updated, a service added."""
    project.replace(SOURCE, '"""', CHANGED)
    project.replace(SETTINGS, FIRST, SECOND)
    made = project.slipway("new", "parcel-service")
    assert made.code == 0, made.output


def release_first(project: Any) -> None:
    for file, new, old in ((SOURCE, CHANGED, '"""'), (SETTINGS, SECOND, FIRST)):
        path = project.folder / file
        path.write_text(path.read_text().replace(new, old))
    shutil.rmtree(project.folder / "services" / "parcel_service", ignore_errors=True)


def killed(project: Any, point: Point, *arguments: str, engine_alone: bool = False) -> str:
    """Run `slipway`, kill it with everything it started, or that alone, when `point` is reached; what it said."""
    line_start, delay_seconds = point
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "slipway.cli.main", *arguments],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = ""
    for line in process.stdout or ():
        output += line
        if line.startswith(line_start):
            time.sleep(delay_seconds)
            break
    else:
        pytest.fail(f"{line_start!r} was never said:\n{output}")
    command, *engine = family(process.pid)
    for pid in engine if engine_alone else [command, *engine]:
        os.kill(pid, signal.SIGKILL)
    os.kill(command, signal.SIGCONT)
    return output + process.communicate()[0]


def family(pid: int) -> list[int]:
    """The process and all that it started, children after their parents, each stopped so that none starts more."""
    os.kill(pid, signal.SIGSTOP)
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found += family(int(stat.parent.name))
    return found


def history(project: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    shown = project.slipway("history", "-s", "e2e", "--json", "--limit", "1000")
    assert shown.code == 0, shown.output
    return sorted(json.loads(shown.output), key=lambda update: int(update["number"]))


def require_in_order(project: Any, services: set[str], before: list[dict[str, Any]]) -> None:
    """The stack has nothing pending, the cluster what the state says, and the history all that it had."""
    assert set(project.deployments()) == services
    addresses = {name: service["url"] for name, service in project.outputs()["services"].items()}
    assert set(addresses) == services
    for address in addresses.values():
        assert httpx.get(f"{address}/healthz").status_code == 200
    export = json.loads(project.run("pulumi", "stack", "export", "--stack", "e2e").output)["deployment"]
    assert not export.get("pending_operations")
    assert not [each["urn"] for each in export["resources"] if each.get("delete") or each.get("initErrors")]
    assert history(project)[: len(before)] == before
    drift = project.slipway("drift", "-s", "e2e")
    assert drift.code == 0, drift.output


ALL = {"user-service", "order-service", "parcel-service"}
OLD = {"user-service", "order-service"}


def bring_second(project: Any) -> None:
    """The second release runs, and the sources are those of the first again."""
    release_second(project)
    assert project.slipway("up", "-s", "e2e", "--yes").code == 0
    release_first(project)


# The command that recovers takes turns, so that each meets what the other's neighbours leave.
GOING_ON: list[Any] = [
    thorough("Preview e2e", 1.0),
    thorough("Update e2e", 0.3),
    ("Create Service parcel-service", 0.02),
    thorough("Update Deployment order-service", 0.0),
]
GOING_BACK: list[Any] = [
    thorough("Create ConfigMap order-service", 0.0),
    ("Create Deployment parcel-service", 0.5),
    thorough("Update Deployment user-service", 0.3),
]
ROLLBACKS: list[Any] = [
    thorough("Roll e2e back", 1.0),
    ("Update Deployment user-service", 0.2),
    thorough("Create ConfigMap order-service", 0.05),
    thorough("Delete Deployment parcel-service", 0.3),
    thorough("Delete ConfigMap order-service", 0.0),
    thorough("Delete Service parcel-service", 0.0),
]


@pytest.mark.parametrize("point", GOING_ON, ids=point_id)
def test_an_update_that_was_killed_goes_on_with_the_next_one(released: Any, point: Point) -> None:
    before = history(released)
    release_second(released)
    killed(released, point, "up", "-s", "e2e", "--yes")
    result = released.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    require_in_order(released, ALL, before)
    release_first(released)
    back = released.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert back.code == 0, back.output
    require_in_order(released, OLD, before)


@pytest.mark.parametrize("point", GOING_BACK, ids=point_id)
def test_an_update_that_was_killed_can_be_rolled_back(released: Any, point: Point) -> None:
    before = history(released)
    release_second(released)
    killed(released, point, "up", "-s", "e2e", "--yes")
    release_first(released)
    result = released.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert result.code == 0, result.output
    require_in_order(released, OLD, before)


@pytest.mark.parametrize("point", ROLLBACKS, ids=point_id)
def test_a_rollback_that_was_killed_goes_on_with_the_next_one(released: Any, point: Point) -> None:
    before = history(released)
    bring_second(released)
    killed(released, point, "rollback", "-s", "e2e", "--to", "1", "--yes")
    result = released.slipway("rollback", "-s", "e2e", "--yes")  # to where it was on its way
    assert result.code == 0, result.output
    assert "e2e is back at #1: " in result.output
    require_in_order(released, OLD, before)


def test_a_plain_update_is_refused_while_the_state_lacks_what_a_killed_one_did(released: Any) -> None:
    before = history(released)
    release_second(released)
    killed(released, ("Create Deployment parcel-service", 0.5), "up", "-s", "e2e", "--yes")
    cancelled = released.run("pulumi", "cancel", "--stack", "e2e", "--yes")
    assert cancelled.code == 0, cancelled.output
    refused = released.up()
    assert refused.code != 0
    assert "an update of e2e was killed, and the state lacks some of its changes" in refused.output
    assert "`slipway up -s e2e`" in refused.output
    result = released.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "was written from its journal" in result.output
    require_in_order(released, ALL, before)
    again = released.up()
    assert again.code == 0, again.output


def test_a_rollback_whose_engine_alone_was_killed_goes_on_to_the_same(released: Any) -> None:
    """By the out-of-memory killer: the command lives on, and says how."""
    before = history(released)
    bring_second(released)
    output = killed(
        released,
        ("Update Deployment user-service", 0.2),
        "rollback",
        "-s",
        "e2e",
        "--to",
        "1",
        "--yes",
        engine_alone=True,
    )
    assert "The engine was killed by SIGKILL" in output
    result = released.slipway("rollback", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "e2e is back at #1: " in result.output
    require_in_order(released, OLD, before)


@pytest.mark.thorough
def test_a_recovery_that_was_killed_too_is_taken_up_again(released: Any) -> None:
    before = history(released)
    release_second(released)
    killed(released, ("Create Deployment parcel-service", 0.05), "up", "-s", "e2e", "--yes")
    killed(released, ("An earlier update of e2e was killed", 1.0), "up", "-s", "e2e", "--yes")
    result = released.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    require_in_order(released, ALL, before)


@pytest.mark.thorough
def test_an_automatic_rollback_that_was_killed_can_be_requested(released: Any) -> None:
    before = history(released)
    bad = {"user-service": {"checks": [{"get": "/users", "has": "no such words"}]}}
    released.configure(f"  slipway:services: {json.dumps(bad)}\n")
    killed(released, ("Roll e2e back", 1.0), "up", "-s", "e2e", "--yes")
    released.configure("")
    result = released.slipway("rollback", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    require_in_order(released, OLD, before)
