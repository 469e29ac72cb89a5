"""What a self-managed backend's files say, whole and damaged."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from slipway.backend import History, RollbackInfo, UpdateKind, parse_rollback, rollback_message
from slipway.backend.history import backend_url
from slipway.backend.storage import Folder
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import ConfigurationError, SlipwayError
from slipway.project import Project

STATE = [{"urn": "urn:pulumi:dev::scratch::pulumi:pulumi:Stack::scratch-dev", "type": "pulumi:pulumi:Stack"}]


def test_an_update_as_recorded(records: Any) -> None:
    records.add(STATE, environment={"git.author": "Ada", "git.head": "0123", "git.dirty": "true"})
    (entry,) = records.history().entries
    assert (entry.number, entry.kind, entry.succeeded, entry.problem) == (1, UpdateKind.UPDATE, True, "")
    assert (entry.author, entry.commit, entry.dirty, entry.message) == ("Ada", "0123", True, "Say hello")
    assert entry.started == datetime(2026, 11, 23, 19, 18, 20, tzinfo=UTC)
    assert entry.duration_seconds == 4.0
    assert entry.changes == {"create": 1}
    assert records.history().checkpoint(1)["resources"] == STATE


def test_resources_that_were_imported_are_an_import(records: Any) -> None:
    """The engine has a word of its own for `pulumi import`."""
    records.add(kind="resource-import")
    (entry,) = records.history().entries
    assert (entry.kind, entry.succeeded, entry.problem) == (UpdateKind.IMPORT, True, "")


def test_numbers_are_given_in_the_order_of_the_stamps_and_not_of_the_times_within(records: Any) -> None:
    records.add(startTime=2_000_000_000, endTime=2_000_000_001, message="first")
    records.add(message="second")
    assert [(entry.number, entry.message) for entry in records.history().entries] == [(1, "first"), (2, "second")]


def test_what_is_beside_the_records_is_left_alone(records: Any) -> None:
    records.add()
    for suffix in (".attrs", ".bak", ".tmp"):
        for part in ("history", "checkpoint"):
            Path(f"{records.file(1, part)}{suffix}").write_text("not for us")
    (records.folder / "dev-two-1795461504858489662.history.json").write_text("another stack's")
    (records.folder / "dev-now.history.json").write_text("no stamp")
    (records.folder / f"dev-{'9' * 25}.history.json").write_text("no stamp of the engine's")
    (records.folder / "a-folder.history.json").mkdir()
    assert [entry.problem for entry in records.history().entries] == [""]


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".zst", lambda data: zstandard.ZstdCompressor().compress(data))]
)
def test_compressed_records(records: Any, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    records.add(STATE, message="packed")
    for part in ("history", "checkpoint"):
        file = records.file(1, part)
        Path(f"{file}{suffix}").write_bytes(compress(file.read_bytes()))
        file.unlink()
    assert records.history().entries[0].message == "packed"
    assert records.history().checkpoint(1)["resources"] == STATE


def test_the_newest_of_the_states_is_the_present_one(records: Any) -> None:
    records.add(STATE)
    plain = records.backend / ".pulumi" / "stacks" / "scratch" / "dev.json"
    newer = {"version": 3, "checkpoint": {"latest": {"manifest": {"magic": "newer"}}}}
    packed = plain.with_name("dev.json.gz")
    packed.write_bytes(gzip.compress(json.dumps(newer).encode()))
    os.utime(plain, (1, 1))
    assert records.history().present() == {"manifest": {"magic": "newer"}, "resources": []}


@pytest.mark.parametrize("damage", ["truncated", "empty", "not json", "a list", "no times", "binary", "unknown kind"])
def test_a_damaged_record_keeps_its_number_and_says_what_is_wrong(records: Any, damage: str) -> None:
    for message in ("one", "two", "three"):
        records.add(message=message)
    file = records.file(2, "history")
    whole = file.read_bytes()
    file.write_bytes(
        {
            "truncated": whole[:100],
            "empty": b"",
            "not json": b"hello",
            "a list": b"[]",
            "no times": b'{"kind": "update"}',
            "binary": b"\x1f\x8b" + bytes(range(256)),
            "unknown kind": whole.replace(b'"update"', b'"upgrade"'),
        }[damage]
    )
    entries = records.history().entries
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [bool(entry.problem) for entry in entries] == [False, True, False]
    assert file.name in entries[1].problem
    assert "\n" not in entries[1].problem
    assert entries[1].started.year == 2026, "the name tells the time"
    assert not entries[1].succeeded


@pytest.mark.parametrize("part", ["history", "checkpoint"])
def test_half_of_a_record(records: Any, part: str) -> None:
    records.add()
    records.add()
    records.file(1, part).unlink()
    first, second = records.history().entries
    assert "is missing" in first.problem
    assert records.file(1, part).name.removesuffix(".json") in first.problem
    assert not second.problem
    with pytest.raises(SlipwayError, match="cannot be read") as caught:
        records.history().checkpoint(1)
    assert "is missing" in caught.value.why


def resources_of(*raw: Any) -> bytes:
    return json.dumps({"checkpoint": {"latest": {"resources": raw}}}).encode()


NO_STATES = [
    *(b"", b"{", b"{}", b'{"checkpoint": {"latest": []}}', b'{"checkpoint": [1]}'),
    *(resources_of(None), resources_of({"type": "t"}), resources_of({"urn": "short", "type": "t"})),
    *(resources_of({"urn": "urn:pulumi:dev::scratch::t::n"}), resources_of([])),
]


@pytest.mark.parametrize("content", NO_STATES)
def test_a_damaged_checkpoint_is_refused_by_name(records: Any, content: bytes) -> None:
    records.add(STATE)
    records.file(1, "checkpoint").write_bytes(content)
    if content == b'{"checkpoint": {"latest": []}}':  # nothing at all is what the engine writes of an empty stack
        assert records.history().checkpoint(1) == {"resources": []}
        return
    with pytest.raises(SlipwayError) as caught:
        records.history().checkpoint(1)
    assert records.file(1, "checkpoint").name in caught.value.why
    assert "#1" in caught.value.what


def test_numbers_that_are_not_there(records: Any) -> None:
    with pytest.raises(SlipwayError, match="no update #1") as caught:
        records.history().entry(1)
    assert "never updated" in caught.value.why
    assert records.history().present() is None
    records.add()
    records.add()
    for number in (0, -1, 3):
        with pytest.raises(SlipwayError, match=f"no update #{number}") as caught:
            records.history().checkpoint(number)
        assert "from #1 to #2" in caught.value.why


def test_only_what_is_requested_is_read(records: Any) -> None:
    for _ in range(3):
        records.add()
    for number in (1, 2):
        records.file(number, "history").write_text("nobody reads this")
    assert [entry.problem for entry in records.history().latest(1)] == [""]
    assert [entry.number for entry in records.history().latest(2)] == [2, 3]


def test_the_layout_of_before_projects(records: Any) -> None:
    records.add(STATE)
    pulumi = records.backend / ".pulumi"
    (pulumi / "meta.yaml").unlink()
    (pulumi / "history" / "scratch" / "dev").rename(pulumi / "history" / "dev")
    (pulumi / "stacks" / "scratch" / "dev.json").rename(pulumi / "stacks" / "dev.json")
    assert records.history().checkpoint(1) == records.history().present()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (RollbackInfo(14, 12), "rollback of #14 to #12"),
        (RollbackInfo(14, 12, ("user-service",)), "rollback of #14 to #12 (user-service)"),
        (RollbackInfo(3, 2, ("a", "b"), "the rule is; wrong (again)"), None),
        (RollbackInfo(3, 2, (), "first line\nsecond"), None),
    ],
)
def test_a_rollback_is_known_by_its_message(records: Any, wanted: RollbackInfo, message: str | None) -> None:
    written = rollback_message(wanted.source, wanted.target, wanted.services, wanted.reason)
    assert message is None or written == message
    assert parse_rollback(written) == wanted
    records.add(message=written)
    assert (records.history().entries[0].kind, records.history().entries[0].rollback) == (UpdateKind.ROLLBACK, wanted)


@pytest.mark.parametrize(
    "message", ["", "rollback", "rollback of #1", "Revert: rollback of #14 to #12", "rollback of #1 to #2x"]
)
def test_other_messages_tell_of_none(message: str) -> None:
    assert parse_rollback(message) is None


def test_a_rollback_is_known_by_the_stacks_setting(records: Any) -> None:
    records.add()
    records.add(config={"scratch:rollbackTo": "1"})
    records.add(config={"scratch:rollbackTo": "1"}, kind="refresh")
    entries = records.history().entries
    assert [entry.kind for entry in entries] == [UpdateKind.UPDATE, UpdateKind.ROLLBACK, UpdateKind.REFRESH]
    assert entries[1].rollback == RollbackInfo(source=1, target=1)


def test_a_token_of_pulumi_cloud_alone_is_enough(tmp_path: Path) -> None:
    """As on a build server, where nobody logs in: the engine does by itself."""
    (tmp_path / "Pulumi.yaml").write_text("name: scratch\nruntime: python\n")
    variables = {"HOME": str(tmp_path), "PULUMI_ACCESS_TOKEN": "pul-0"}
    for more, url in (
        ({}, "https://api.pulumi.com"),
        ({"PULUMI_API": "https://pulumi.example"}, "https://pulumi.example"),
    ):
        assert backend_url(Pulumi(tmp_path, {**variables, **more}), Project(tmp_path)) == url


def test_where_the_backend_is_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.yaml"
    file.write_text("name: scratch\nruntime: python\n")
    home = tmp_path / "home"
    home.mkdir()

    def place(**variables: str) -> str:
        history = History.open(Pulumi(tmp_path, {"HOME": str(home), **variables}), Project(tmp_path), "dev")
        return str(history.source.storage.place(""))  # type: ignore[attr-defined]

    with pytest.raises(ConfigurationError, match="No backend is set"):
        place()
    (home / ".pulumi").mkdir()
    (home / ".pulumi" / "credentials.json").write_text('{"current": "file://./a%20b?no_tmp_dir=true"}')
    assert place() == str(tmp_path / "a b")
    (tmp_path / "credentials.json").write_text('{"current": "file:///elsewhere"}')
    assert place(PULUMI_HOME=str(tmp_path)) == "/elsewhere"
    assert place(PULUMI_CREDENTIALS_PATH=str(tmp_path), PULUMI_HOME=str(home)) == "/elsewhere"
    file.write_text("name: scratch\nruntime: python\nbackend:\n  url: file:///of-the-project\n")
    assert place() == "/of-the-project"
    assert place(PULUMI_BACKEND_URL="file:///set") == "/set"
    with pytest.raises(ConfigurationError, match=r"postgres://u:.secret.@h/db") as caught:
        place(PULUMI_BACKEND_URL="postgres://u:p@h/db")
    assert "s3://" in caught.value.why


def test_a_backend_that_cannot_be_read(records: Any) -> None:
    records.add()
    (records.backend / ".pulumi" / "meta.yaml").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        _ = records.history().entries


def test_a_file_that_goes_while_the_folder_is_listed_is_not_in_the_list(tmp_path: Path) -> None:
    """The engine writes states to temporary files and releases locks meanwhile."""
    for name in ("dev.json", "prod.json.tmp"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    assert sorted(file.name for file in Folder(tmp_path).files("")) == ["dev.json", "prod.json.tmp"]
