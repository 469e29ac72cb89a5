"""`slipway history` and `slipway diff` as a user runs them, over a backend written by hand."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from slipway.backend import rollback_message
from slipway.backend.services import changed, services
from tests.slipway.environments import Environments

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:"
FIRST_STAMP = 1795461504858489662


def deployment(service: str, digest: str, **more: Any) -> dict[str, Any]:
    image = f"127.0.0.1:5000/{service}@sha256:{digest * 8}"
    containers = [{"name": "sidecar", "image": "other"}, {"name": service, "image": image}]
    return {
        "urn": f"{URN}apps/v1:Deployment::{service}",
        "type": "kubernetes:apps/v1:Deployment",
        "custom": True,
        "inputs": {"spec": {"template": {"spec": {"containers": containers}}, **more}},
    }


@pytest.fixture
def backend(slipway: Any) -> Any:
    slipway.write_toolchain()
    slipway.write_lab(PULUMI_BACKEND_URL=f"file://{slipway.home}/backend")
    folder = slipway.home / "backend" / ".pulumi"
    (folder / "history" / "slipway" / "dev").mkdir(parents=True)
    (folder / "stacks" / "slipway").mkdir(parents=True)
    (folder / "meta.yaml").write_text("version: 1\n")
    return Backend(slipway, folder)


class Backend:
    def __init__(self, slipway: Any, folder: Path) -> None:
        self.slipway, self.folder, self.count = slipway, folder, 0

    def add(self, *resources: dict[str, Any], state: Path | None = None, **more: Any) -> Path:
        """The path of the checkpoint; that of the update is the same with another word.

        `state` is an earlier checkpoint, whose content this one shares.
        """
        stamp = FIRST_STAMP + self.count * 10**10
        self.count += 1
        environment = {"git.author": "Ada", "git.head": "0123456789", "git.dirty": "false"}
        info = {"kind": "update", "message": "", "startTime": 0, "endTime": 65, "result": "succeeded"}
        file = self.folder / "history" / "slipway" / "dev" / f"dev-{stamp}.checkpoint.json"
        if state:
            file.hardlink_to(state)
        else:
            file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))
            shutil.copy(file, self.folder / "stacks" / "slipway" / "dev.json")
        Path(str(file).replace("checkpoint", "history")).write_text(
            json.dumps({"environment": environment, **info, **more})
        )
        return file

    def __call__(self, *arguments: str) -> list[str]:
        done = self.slipway(*arguments, COLUMNS="300")
        assert done.returncode == 0, done.stderr
        return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_rows(backend: Any) -> None:
    backend.add(deployment("a", "0badf00d"))
    backend.add(deployment("a", "c0ffee00"), deployment("b", "12345678"), result="failed")
    backend.add(deployment("a", "0badf00d"), message=rollback_message(2, 1, ["a"], "no time"))
    backend.add(deployment("a", "0badf00d", replicas=2), environment={"git.head": "0123456789", "git.dirty": "true"})
    backend.add(kind="destroy")
    heading, *rows = backend("history", "-s", "dev")
    assert heading == "# time who commit kind result services changed took"
    assert [row.split(" ", 3)[3] for row in rows] == [
        "Ada 01234567 destroy succeeded a 0badf00d → - 1 min 05 s",
        "- 01234567-dirty update succeeded a (settings) 1 min 05 s",
        "Ada 01234567 rollback of #2 to #1 (a), policies overridden succeeded "
        "a c0ffee00 → 0badf00d, b 12345678 → - 1 min 05 s",
        "Ada 01234567 update failed a 0badf00d → c0ffee00, b - → 12345678 1 min 05 s",
        "Ada 01234567 update succeeded a - → 0badf00d 1 min 05 s",
    ]
    assert [row.split()[0] for row in rows] == ["5", "4", "3", "2", "1"]
    assert len(backend("history", "-s", "dev", "--limit", "2")) == 3
    found = json.loads("".join(backend("history", "-s", "dev", "--json", "--limit", "3")))[2]
    assert found["rollback"] == {"source": 2, "target": 1, "services": ["a"], "overriddenPolicies": "no time"}
    assert [each["name"] for each in found["services"]] == ["a", "b"]
    assert [each["promotedFrom"] for each in found["services"]] == [None, None]


def test_a_promoted_image_names_the_update_that_it_came_from(slipway: Any) -> None:
    slipway.write_toolchain()
    slipway.write_lab(PULUMI_BACKEND_URL=f"file://{slipway.home}/backend")
    environments = Environments(slipway.home / "backend")
    origin = environments.promotion("a", 12)
    environments.add("prod", images={"a": origin})
    environments.add("prod", images={"a": environments.promotion("b", 14)})
    for _ in ("read", "from the cache"):
        shown = slipway("history", "-s", "prod").stdout
        assert "a - → aaaaaaaa (#12 of dev)" in shown
        assert "a aaaaaaaa → bbbbbbbb (#14 of dev)" in shown
        _, first = json.loads(slipway("history", "-s", "prod", "--json").stdout)
        assert first["services"][0]["promotedFrom"] == {
            "environment": "dev",
            "update": 12,
            "commit": origin.commit,
            "time": origin.time,
        }


def test_the_table_fits_80_columns(backend: Any) -> None:
    """Long names of people and services, and a rollback that overrode policies."""
    author = {"git.author": "Ada King, Countess of Lovelace", "git.head": "0123456789", "git.dirty": "true"}
    backend.add(deployment("a-service-with-a-long-name", "0badf00d"), environment=author)
    backend.add(*(deployment(f"another-service-with-a-long-name-{n}", "c0ffee00") for n in range(9)))
    backend.add(deployment("a", "0badf00d"), message=rollback_message(2, 1, ["another-service-with-a-long-name"], "no"))
    done = backend.slipway("history", "-s", "dev", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(done.stdout.split())
    assert "who: Ada King, Countess of Lovelace" in text
    assert "services changed: a-service-with-a-long-name - → 0badf00d" in text
    assert "kind: rollback of #2 to #1 (another-service-with-a-long-name), policies overridden" in text


def test_damaged_records_take_a_line_each(backend: Any) -> None:
    backend.add(deployment("a", "0badf00d"))
    damaged = backend.add(deployment("a", "0badf00d"))
    backend.add(deployment("a", "c0ffee00"))
    assert len(backend("history", "-s", "dev")) == 4
    damaged.write_text(damaged.read_text()[:-5])  # the cache must not hide it
    rows = backend("history", "-s", "dev")
    assert f"{damaged} is truncated or corrupt" in rows[2]
    assert "a 0badf00d → c0ffee00" in rows[1], "compared with the nearest state that can be read"
    Path(str(damaged).replace("checkpoint", "history")).write_text("{")
    rows = backend("history", "-s", "dev")
    assert len(rows) == 4
    assert "unreadable" in rows[2]
    refused = backend.slipway("diff", "-s", "dev", "2", "1")
    assert refused.returncode == 1
    assert damaged.name in refused.stderr


def test_a_second_look_reads_no_state(backend: Any) -> None:
    files = [backend.add(deployment("a", digest)) for digest in ("0badf00d", "c0ffee00")]
    first = backend("history", "-s", "dev")
    for file in files:
        file.write_text("x" * file.stat().st_size)
    assert backend("history", "-s", "dev") == first
    for file in (backend.slipway.home / "cache" / "history").iterdir():
        file.write_text("{")
    assert "truncated or corrupt" in "".join(backend("history", "-s", "dev"))


def test_what_a_commit_says_does_nothing_to_a_terminal(backend: Any) -> None:
    sly = "A\x1b[2Jda \x1b]0;of the harbour\x07"
    backend.add(deployment("a", "0badf00d"), environment={"git.author": sly, "git.head": "0123456789"})
    shown = "".join(backend("history", "-s", "dev"))
    assert not {"\x1b", "\x07"} & set(shown)
    assert "Ada" in shown


def test_an_empty_history(backend: Any) -> None:
    assert backend("history", "-s", "dev") == [
        "dev has no history: it was never updated. `slipway up -s dev` makes the first entry."
    ]
    assert backend("history", "-s", "dev", "--json") == ["[]"]


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_a_limit_of_nothing(backend: Any, limit: str) -> None:
    done = backend.slipway("history", "-s", "dev", "--limit", limit)
    assert (done.returncode, f"--limit is {limit}" in done.stderr) == (2, True)


def test_diff(backend: Any) -> None:
    for digest in ("0badf00d", "c0ffee00", "0badf00d"):
        backend.add(deployment("a", digest))
    assert backend("diff", "-s", "dev", "1", "2")[-1] == "dev from #1 to #2: 1 resource differs: 1 changed."
    assert backend("diff", "-s", "dev", "1") == ["dev from #1 to the present state: no difference."]
    assert json.loads("".join(backend("diff", "-s", "dev", "2", "--json")))["to"] is None
    done = backend.slipway("diff", "-s", "dev", "1", "4")
    assert (done.returncode, "no update #4" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_thousand_updates_are_listed_in_seconds(backend: Any) -> None:
    resources = [deployment(f"service-{index}", "0badf00d") for index in range(300)]
    state = backend.add(*resources)
    for _ in range(999):
        backend.add(state=state)
    started = time.monotonic()
    assert len(backend("history", "-s", "dev")) == 21
    assert time.monotonic() - started < 10


def test_services_of_a_state() -> None:
    before = services({"resources": [deployment("a", "0badf00d"), deployment("b", "0badf00d")]})
    after = services({"resources": [deployment("a", "0badf00d"), deployment("b", "0badf00d", replicas=3)]})
    assert before["a"].image == f"127.0.0.1:5000/a@sha256:{'0badf00d' * 8}"
    assert [each.name for each in changed(before, after)] == ["b"]
