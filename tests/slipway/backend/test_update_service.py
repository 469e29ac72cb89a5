"""The backend that an update's engine sees, and the files that are there after it, whatever ends it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway.backend.recording import HeldError, RecordedStack
from slipway.backend.storage import Folder
from slipway.backend.update_service import ServedUpdate, serve
from slipway.environment_variables import BACKEND_URL
from slipway.errors import SlipwayError

STACK = "/api/stacks/organization/shop/dev"
A: dict[str, Any] = {
    "urn": "urn:pulumi:dev::shop::kubernetes:core/v1:ConfigMap::a",
    "type": "kubernetes:core/v1:ConfigMap",
    "custom": True,
    "id": "a",
}
KEY = {"type": "passphrase", "state": {"salt": "v1:salt"}}
SETTINGS = {"encryptionsalt": "v1:salt"}
LATEST = {"secrets_providers": KEY, "resources": [A], "metadata": {}}
BEFORE: dict[str, Any] = {"version": 3, "checkpoint": {"stack": "organization/shop/dev", "latest": LATEST}}
REQUEST = {
    "metadata": {"message": "Say hello", "environment": {"git.head": "0123"}},
    "config": {
        "shop:plain": {"string": "1", "secret": False, "object": False},
        "shop:hidden": {"string": "v1:x", "secret": True, "object": False},
        "shop:object": {"string": '{"a":{"secure":"v1:y"}}', "secret": True, "object": True},
    },
}


@pytest.fixture
def stack(tmp_path: Path) -> RecordedStack:
    state = tmp_path / ".pulumi" / "stacks" / "shop" / "dev.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps(BEFORE))
    (tmp_path / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    return RecordedStack(Folder(tmp_path), "shop", "dev")


class Engine:
    """Sends what the engine sends; `update` is at the other end."""

    def __init__(self, update: ServedUpdate, variables: Any) -> None:
        self.update, self.variables, self.id = update, variables, ""
        headers = {
            "Authorization": f"token {update.token}",
            "User-Agent": "pulumi-cli/1 (v3.259.0; linux)",
        }
        self.http = httpx.Client(base_url=variables["PULUMI_BACKEND_URL"], headers=headers, trust_env=False)

    def send(self, method: str, path: str, content: Any = None, status: int = 200) -> Any:
        body = gzip.compress(json.dumps(content or {}).encode())
        answer = self.http.request(method, path, content=body, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == status, answer.text
        return answer.json()

    def begin(self, status: int = 200, **more: Any) -> Any:
        self.id = self.send("POST", f"{STACK}/update", REQUEST)["updateID"]
        return self.send("POST", f"{STACK}/update/{self.id}", {"journalVersion": 1, **more}, status)

    def entries(self, *entries: Any) -> None:
        self.send("PATCH", f"{STACK}/update/{self.id}/journalentries", {"entries": entries})

    def complete(self, status: str = "succeeded") -> None:
        self.send("POST", f"{STACK}/update/{self.id}/complete", {"status": status})


@pytest.fixture
def engine(stack: RecordedStack) -> Iterator[Engine]:
    update = ServedUpdate(stack, engine_pid=os.getpid())
    with serve(update, "file:///there") as variables:
        yield Engine(update, variables)


def urns(stack: RecordedStack) -> list[str]:
    """The URNs of the present state."""
    return [raw["urn"] for raw in (stack.present() or {})["resources"]]


def locks(tmp_path: Path) -> list[Any]:
    return [json.loads(file.read_text()) for file in (tmp_path / ".pulumi/locks/organization/shop/dev").glob("*")]


def journal_files(tmp_path: Path) -> list[Path]:
    return [file for file in (tmp_path / ".pulumi/journals").rglob("*") if file.is_file()]


def begun(operation: int, urn: str) -> dict[str, Any]:
    raw = {**A, "urn": urn}
    return {
        "kind": 0,
        "sequenceID": 2 * operation,
        "operationID": operation,
        "operation": {"type": "creating", "resource": raw},
    }


def made(operation: int, urn: str) -> dict[str, Any]:
    return {"kind": 1, "sequenceID": 2 * operation + 1, "operationID": operation, "state": {**A, "urn": urn}}


B = A["urn"].replace("::a", "::b")


def test_an_update_leaves_the_files_that_the_engine_would_leave(
    engine: Engine, stack: RecordedStack, tmp_path: Path
) -> None:
    assert engine.send("GET", STACK)["stackName"] == "dev"
    engine.begin()
    (lock,) = locks(tmp_path)
    assert lock["pid"] == os.getpid()
    assert engine.send("GET", f"{STACK}/export")["deployment"]["resources"] == [A]
    engine.entries(begun(1, B))
    engine.entries(made(1, B))
    summary = {"summaryEvent": {"resourceChanges": {"create": 1}}}
    engine.send("POST", f"{STACK}/update/{engine.id}/events/batch", {"events": [{"sequence": 0}, summary]})
    engine.complete()
    engine.complete()  # the engine repeats a request that it got no answer to
    assert urns(stack) == [B, A["urn"]]
    present = stack.present() or {}
    assert present["manifest"]["version"] == "v3.259.0"
    assert not locks(tmp_path)
    assert not journal_files(tmp_path)
    (record,) = stack.records()
    assert stack.checkpoint(record) == present
    (update,) = stack.updates([record])
    assert isinstance(update, dict)
    assert (update["kind"], update["result"], update["message"]) == ("update", "succeeded", "Say hello")
    assert update["resourceChanges"] == {"create": 1}
    assert update["environment"] == {"git.head": "0123"}
    assert update["config"] == {
        "shop:plain": "1",
        "shop:hidden": {"secure": "v1:x"},
        "shop:object": {"a": {"secure": "v1:y"}},
    }
    assert json.loads((tmp_path / ".pulumi/stacks/shop/dev.json.bak").read_text()) == BEFORE
    (backup,) = (tmp_path / ".pulumi/backups/shop/dev").iterdir()
    assert json.loads(backup.read_text())["checkpoint"]["latest"] == present


@pytest.mark.parametrize("killed", [True, False])
def test_an_engine_that_does_not_end_its_update_leaves_what_it_had_begun(
    engine: Engine, stack: RecordedStack, tmp_path: Path, killed: bool
) -> None:
    engine.begin()
    engine.entries(made(1, B), begun(2, f"{B}2"))
    engine.update.leave(killed=killed)
    assert urns(stack) == [B, A["urn"]]
    assert [each["resource"]["urn"] for each in (stack.present() or {})["pending_operations"]] == [f"{B}2"]
    assert bool(locks(tmp_path)) is killed
    assert not journal_files(tmp_path)
    assert not stack.records()


def test_entries_that_were_confirmed_outlive_the_command_line(engine: Engine, stack: RecordedStack) -> None:
    engine.begin()
    engine.entries(begun(1, B))
    engine.entries(made(1, B), begun(2, f"{B}2"))
    assert urns(stack) == [A["urn"]]
    assert stack.is_left_over(holds_lock=True)
    assert not stack.is_left_over(holds_lock=False), "an update holds the stack, and may still run"
    stack.unlock(stack._locks()[0])
    assert stack.is_left_over(holds_lock=False)
    assert "written from its journal" in "".join(stack.settle())
    assert urns(stack) == [B, A["urn"]]
    assert [each["resource"]["urn"] for each in (stack.present() or {})["pending_operations"]] == [f"{B}2"]
    assert stack.settle() == []


def test_a_state_that_was_written_is_not_written_again(engine: Engine, stack: RecordedStack, tmp_path: Path) -> None:
    """The command line was killed between the state and the end of the journal."""
    engine.begin()
    engine.entries(made(1, B))
    (journal,) = stack.journals()
    assert journal.write_state()
    written = stack.content()
    stack.unlock(stack._locks()[0])
    assert journal_files(tmp_path)
    assert "written from its journal" in "".join(stack.settle())
    assert stack.content() == written
    assert not journal_files(tmp_path)


def test_a_journal_of_a_state_that_was_replaced_is_kept_aside(
    engine: Engine, stack: RecordedStack, tmp_path: Path
) -> None:
    engine.begin()
    engine.entries(made(1, B))
    replaced = json.dumps({**BEFORE, "checkpoint": {"latest": {"resources": []}}}).encode()
    stack.save(replaced)
    stack.unlock(stack._locks()[0])
    assert "replaced since" in "".join(stack.settle())
    assert stack.content() == replaced
    (kept,) = journal_files(tmp_path)
    assert kept.name.endswith(".refused")
    assert json.loads(kept.read_text())["begun"]["message"] == "Say hello"
    assert stack.settle() == []


def test_a_stack_that_is_locked_is_refused_in_the_words_of_the_engine(
    engine: Engine, stack: RecordedStack, tmp_path: Path
) -> None:
    stack.lock(1)
    refusal = engine.begin(status=409)
    assert refusal["message"].startswith("the stack is currently locked by 1 lock(s).")
    assert "(pid 1)" in refusal["message"]
    engine.update.leave(killed=False)
    assert [lock["pid"] for lock in locks(tmp_path)] == [1], "the other lock was taken away, or its own left"


def test_entries_are_refused_before_the_beginning_and_after_the_end(engine: Engine) -> None:
    path = f"{STACK}/update/x/journalentries"
    assert "has not started" in engine.send("PATCH", path, {"entries": []}, status=409)["message"]


def test_entries_that_cannot_be_kept_are_not_confirmed(engine: Engine, tmp_path: Path) -> None:
    engine.begin()
    (begun_file,) = journal_files(tmp_path)
    begun_file.with_name(begun_file.name.replace(".begun", ".00000000.batch")).mkdir()  # in the way, for root too
    path = f"{STACK}/update/{engine.id}/journalentries"
    assert "directory" in engine.send("PATCH", path, {"entries": [made(1, B)]}, status=500)["message"].lower()
    assert not list((tmp_path / ".pulumi").glob("*.partial"))


def test_an_update_that_was_only_started_leaves_the_state_as_it_is(engine: Engine, stack: RecordedStack) -> None:
    """The engine starts it before it reads the state, which it may refuse."""
    before = stack.content()
    engine.begin()
    engine.update.leave(killed=False)
    assert stack.content() == before


def test_an_end_that_fails_halfway_is_one_update_when_it_is_repeated(
    engine: Engine, stack: RecordedStack, tmp_path: Path
) -> None:
    engine.begin()
    engine.entries(made(1, B))
    in_the_way = tmp_path / ".pulumi" / "backups"
    in_the_way.write_text("no folder")
    engine.send("POST", f"{STACK}/update/{engine.id}/complete", {"status": "succeeded"}, status=500)
    in_the_way.unlink()
    engine.complete()
    (record,) = stack.records()
    assert not record.problem
    assert urns(stack) == [B, A["urn"]]


def test_an_update_that_leaves_a_damaged_state_has_failed(engine: Engine, stack: RecordedStack) -> None:
    engine.begin()
    engine.entries({**made(1, B), "state": {**A, "urn": B, "dependencies": ["urn:pulumi:dev::shop::a::missing"]}})
    refusal = engine.send("POST", f"{STACK}/update/{engine.id}/complete", {"status": "succeeded"}, status=409)
    assert "damaged" in refusal["message"]
    (update,) = stack.updates(stack.records())
    assert isinstance(update, dict)
    assert update["result"] == "failed"


def test_what_an_earlier_journal_left_is_not_of_the_next(engine: Engine, stack: RecordedStack, tmp_path: Path) -> None:
    """The command line was killed while it removed the journal, which it does from the beginning."""
    for part in ("00000007.batch.json", "written.json"):
        file = tmp_path / ".pulumi/journals/shop/dev" / f"earlier.{part}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(hashlib.sha256(stack.content()).hexdigest())
    engine.begin()
    engine.entries(made(1, B))
    stack.unlock(stack._locks()[0])
    assert "written from its journal" in "".join(stack.settle())
    assert urns(stack) == [B, A["urn"]]


def test_a_journal_that_was_left_meanwhile_is_not_lost(engine: Engine, stack: RecordedStack) -> None:
    stack.begin({"message": "killed", "engine": "v3.259.0"})
    assert "was killed meanwhile" in engine.begin(status=409)["message"]
    assert [journal.header["message"] for journal in stack.journals()] == ["killed"]
    engine.update.leave(killed=False)
    assert not stack.is_held()


def test_a_journal_that_cannot_be_read_is_kept_aside(engine: Engine, stack: RecordedStack, tmp_path: Path) -> None:
    engine.begin()
    engine.entries({**made(1, B), "kind": 99})
    with pytest.raises(SlipwayError, match="could not be written"):
        engine.update.leave(killed=False)
    assert not stack.is_held()
    assert "cannot be read" in "".join(stack.settle())
    (kept,) = journal_files(tmp_path)
    assert kept.name.endswith(".refused")


def test_a_lock_is_not_left_behind_by_one_who_finds_another(stack: RecordedStack, tmp_path: Path) -> None:
    stack.lock(1)
    with pytest.raises(HeldError):
        stack.lock(2)
    assert [lock["pid"] for lock in locks(tmp_path)] == [1]
    assert stack.settle() == []


def test_an_engine_without_a_journal_is_noticed_before_it_begins(engine: Engine, tmp_path: Path) -> None:
    engine.begin(status=400, journalVersion=0)
    assert engine.update.engine_is_old
    assert not locks(tmp_path)


def test_what_no_update_asks_is_not_served(engine: Engine) -> None:
    engine.send("POST", f"{STACK}/import", status=404)
    engine.send("GET", "/api/stacks/organization/shop/prod", status=404)


def test_another_stack_of_the_backend_is_read_for_a_reference_to_it(engine: Engine, tmp_path: Path) -> None:
    other = tmp_path / ".pulumi" / "stacks" / "base" / "prod.json"
    other.parent.mkdir()
    other.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": [{**A, "urn": B}]}}}))
    path = "/api/stacks/organization/base/prod"
    assert engine.send("GET", path)["projectName"] == "base"
    assert engine.send("GET", f"{path}/export")["deployment"]["resources"][0]["urn"] == B
    engine.send("POST", f"{path}/update", REQUEST, status=404)


def test_a_state_that_was_replaced_while_the_update_ran_is_left_alone(engine: Engine, stack: RecordedStack) -> None:
    """After `pulumi cancel`, another may have changed it."""
    engine.begin()
    engine.entries(made(1, B))
    replaced = json.dumps({**BEFORE, "checkpoint": {"latest": {"resources": []}}}).encode()
    stack.save(replaced)
    refusal = engine.send("POST", f"{STACK}/update/{engine.id}/complete", {"status": "succeeded"}, status=409)
    assert "replaced during the update" in refusal["message"]
    assert stack.content() == replaced
    assert not stack.records()


def test_other_processes_of_the_machine_are_refused(engine: Engine) -> None:
    engine.http.headers["Authorization"] = "token guessed"
    assert engine.send("GET", f"{STACK}/export", status=401) == {"code": 401, "message": "unauthorized"}


def test_the_engine_needs_no_login_and_the_program_keeps_its_backend(engine: Engine) -> None:
    login = json.loads((Path(engine.variables["PULUMI_CREDENTIALS_PATH"]) / "credentials.json").read_text())
    assert login["current"] == engine.variables["PULUMI_BACKEND_URL"]
    assert engine.variables[BACKEND_URL] == "file:///there"


@pytest.mark.parametrize("switch", ["PULUMI_DISABLE_JOURNALING", "PULUMI_DIY_BACKEND_GZIP"])
def test_what_the_engine_has_to_write_itself(stack: RecordedStack, tmp_path: Path, switch: str) -> None:
    assert stack.keeps_journal(SETTINGS, {switch: "false"})
    assert not stack.keeps_journal(SETTINGS, {switch: "true"})
    assert not RecordedStack(Folder(tmp_path), "shop", "another").keeps_journal(SETTINGS, {})


CLOUD = {"type": "cloud", "state": {"url": "awskms://alias/a", "encryptedkey": "AAAA"}}
FALLS_BACK = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}


@pytest.mark.parametrize(
    ("key", "settings", "variables", "kept"),
    [
        (KEY, SETTINGS, {}, True),
        (KEY, {"encryptionsalt": "v1:another"}, FALLS_BACK, False),
        (KEY, {}, {}, False),
        (KEY, {}, FALLS_BACK, True),
        (None, SETTINGS, FALLS_BACK, False),
        (CLOUD, {"secretsprovider": "awskms://alias/a", "encryptedkey": "AAAA"}, {}, True),
        (CLOUD, {"secretsprovider": "awskms://alias/a", "encryptedkey": "BBBB"}, {}, False),
        ({"type": "service", "state": {}}, {}, FALLS_BACK, False),
    ],
)
def test_a_journal_is_kept_only_with_the_key_of_the_state(
    stack: RecordedStack, key: Any, settings: Any, variables: Any, kept: bool
) -> None:
    """Without a key in the settings, the engine takes one of Pulumi Cloud, which is not there."""
    stack.save(json.dumps({"version": 3, "checkpoint": {"latest": {**LATEST, "secrets_providers": key}}}).encode())
    assert stack.keeps_journal(settings, variables) is kept


@pytest.mark.parametrize(("name", "kept"), [("organization/base/prod", True), ("prod", False)])
def test_a_short_name_of_another_stack_is_left_to_the_engine(stack: RecordedStack, name: str, kept: bool) -> None:
    reference = {"urn": B, "type": "pulumi:pulumi:StackReference", "inputs": {"name": name}}
    stack.save(json.dumps({"version": 3, "checkpoint": {"latest": {**LATEST, "resources": [reference]}}}).encode())
    assert stack.keeps_journal(SETTINGS, {}) is kept
