"""Killed in the middle: whatever a `kill -9` hits, the next command recovers alone, and no history is lost.

The second release follows the first, and a rollback goes back to it. One scenario kills them at five points, one after
the other; each of the others, which run with SLIPWAY_TEST_ALL=1, at one point of a stack that knows no other.
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
    export = json.loads(project.run("pulumi", "stack", "export", "--stack", "e2e").output)["deployment"]
    (stack,) = (each for each in export["resources"] if each["type"] == "pulumi:pulumi:Stack")
    addresses = {name: service["url"] for name, service in stack["outputs"]["services"].items()}
    assert set(addresses) == services
    for address in addresses.values():
        assert httpx.get(f"{address}/healthz").status_code == 200
    assert not export.get("pending_operations")
    assert not [each["urn"] for each in export["resources"] if each.get("delete") or each.get("initErrors")]
    assert history(project)[: len(before)] == before
    drift = project.slipway("drift", "-s", "e2e")
    assert drift.code == 0, drift.output


ALL = {"user-service", "order-service", "parcel-service"}
OLD = {"user-service", "order-service"}
UP = ("up", "-s", "e2e", "--yes")
ROLLBACK = ("rollback", "-s", "e2e", "--yes")  # after a kill to where that one was on its way
TO_FIRST = (*ROLLBACK, "--to", "1")


def bring_second(project: Any) -> None:
    """The second release runs, and the sources are those of the first again."""
    release_second(project)
    assert project.slipway("up", "-s", "e2e", "--yes").code == 0
    release_first(project)


def done(project: Any, *arguments: str) -> str:
    """What the command prints, which has to succeed."""
    result = project.slipway(*arguments)
    assert result.code == 0, result.output
    return str(result.output)


def test_five_kills_of_one_stack_lose_nothing(released: Any) -> None:
    """Each meets what the recovery from the one before has left."""
    before = history(released)
    release_second(released)
    killed(released, ("Create Service parcel-service", 0.02), *UP)
    done(released, *UP)
    require_in_order(released, ALL, before)
    release_first(released)

    killed(released, ("Update Deployment user-service", 0.2), *TO_FIRST)
    assert "e2e is back at #1: " in done(released, *ROLLBACK)
    require_in_order(released, OLD, before)

    release_second(released)
    killed(released, ("Create Deployment parcel-service", 0.5), *UP)
    require_plain_update_refused(released)
    release_first(released)
    done(released, *TO_FIRST)
    require_in_order(released, OLD, before)

    release_second(released)
    killed(released, ("Update Deployment order-service", 0.0), *UP)
    assert "was written from its journal" in done(released, *UP)
    require_in_order(released, ALL, before)
    release_first(released)

    # By the out-of-memory killer: the command lives on, and says how.
    output = killed(released, ("Update Deployment user-service", 0.2), *TO_FIRST, engine_alone=True)
    assert "The engine was killed by SIGKILL" in output
    assert "e2e is back at #1: " in done(released, *ROLLBACK)
    require_in_order(released, OLD, before)


def require_plain_update_refused(project: Any) -> None:
    """While the state lacks what the killed update did."""
    cancelled = project.run("pulumi", "cancel", "--stack", "e2e", "--yes")
    assert cancelled.code == 0, cancelled.output
    refused = project.up()
    assert refused.code != 0
    assert "an update of e2e was killed, and the state lacks some of its changes" in refused.output
    assert "`slipway up -s e2e`" in refused.output


# The command that recovers takes turns, so that each meets what the other's neighbours leave.
GOING_ON: list[Point] = [
    ("Preview e2e", 1.0),
    ("Update e2e", 0.3),
    ("Create Service parcel-service", 0.02),
    ("Update Deployment order-service", 0.0),
]
GOING_BACK: list[Point] = [
    ("Create ConfigMap order-service", 0.0),
    ("Create Deployment parcel-service", 0.5),
    ("Update Deployment user-service", 0.3),
]
ROLLBACKS: list[Point] = [
    ("Roll e2e back", 1.0),
    ("Update Deployment user-service", 0.2),
    ("Create ConfigMap order-service", 0.05),
    ("Delete Deployment parcel-service", 0.3),
    ("Delete ConfigMap order-service", 0.0),
    ("Delete Service parcel-service", 0.0),
]


@pytest.mark.thorough
@pytest.mark.parametrize("point", GOING_ON, ids=point_id)
def test_an_update_that_was_killed_goes_on_with_the_next_one(released: Any, point: Point) -> None:
    before = history(released)
    release_second(released)
    killed(released, point, *UP)
    done(released, *UP)
    require_in_order(released, ALL, before)
    release_first(released)
    done(released, *TO_FIRST)
    require_in_order(released, OLD, before)


@pytest.mark.thorough
@pytest.mark.parametrize("point", GOING_BACK, ids=point_id)
def test_an_update_that_was_killed_can_be_rolled_back(released: Any, point: Point) -> None:
    before = history(released)
    release_second(released)
    killed(released, point, *UP)
    release_first(released)
    result = released.slipway(*TO_FIRST)
    # The first point may come before the API server has made anything.
    nothing_done = point == GOING_BACK[0] and "nothing to roll back: e2e is as update #1 left it" in result.output
    assert result.code == (2 if nothing_done else 0), result.output
    require_in_order(released, OLD, before)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("point", "engine_alone"),
    [
        *(pytest.param(point, False, id=point_id(point)) for point in ROLLBACKS),
        pytest.param(ROLLBACKS[1], True, id="engine-alone"),
    ],
)
def test_a_rollback_that_was_killed_goes_on_with_the_next_one(released: Any, point: Point, engine_alone: bool) -> None:
    before = history(released)
    release_second(released)
    done(released, *UP)
    release_first(released)
    output = killed(released, point, *TO_FIRST, engine_alone=engine_alone)
    assert ("The engine was killed by SIGKILL" in output) is engine_alone
    assert "e2e is back at #1: " in done(released, *ROLLBACK)
    require_in_order(released, OLD, before)


@pytest.mark.thorough
def test_a_plain_update_is_refused_while_the_state_lacks_what_a_killed_one_did(released: Any) -> None:
    before = history(released)
    release_second(released)
    killed(released, ("Create Deployment parcel-service", 0.5), *UP)
    require_plain_update_refused(released)
    assert "was written from its journal" in done(released, *UP)
    require_in_order(released, ALL, before)
    again = released.up()
    assert again.code == 0, again.output


@pytest.mark.thorough
def test_a_recovery_that_was_killed_too_is_taken_up_again(released: Any) -> None:
    before = history(released)
    release_second(released)
    killed(released, ("Create Deployment parcel-service", 0.05), *UP)
    killed(released, ("An earlier update of e2e was killed", 1.0), *UP)
    done(released, *UP)
    require_in_order(released, ALL, before)


@pytest.mark.thorough
def test_an_automatic_rollback_that_was_killed_can_be_requested(released: Any) -> None:
    before = history(released)
    bad = {"user-service": {"checks": [{"get": "/users", "has": "no such words"}]}}
    released.configure(f"  slipway:services: {json.dumps(bad)}\n")
    killed(released, ("Roll e2e back", 1.0), *UP)
    released.configure("")
    done(released, *ROLLBACK)
    require_in_order(released, OLD, before)
