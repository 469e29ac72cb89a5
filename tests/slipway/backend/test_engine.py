"""The real engine writes a history, and it is read back: compressed, from a bucket, after a failure and a destroy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway import values
from slipway.backend import History, UpdateKind, rollback_message
from slipway.backend.history import FORMER_PASSPHRASE, decrypted
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import ConfigurationError, SlipwayError
from slipway.project import Project
from tests.slipway.backend.s3_server import S3Server, s3_server

pytestmark = pytest.mark.lab

ALL = (
    (UpdateKind.UPDATE, True, "the first"),
    (UpdateKind.UPDATE, False, "one that fails"),
    (UpdateKind.REFRESH, True, "a refresh"),
    (UpdateKind.ROLLBACK, True, rollback_message(2, 1)),
    (UpdateKind.DESTROY, True, "the end"),
)


def record_everything(recorder: Any) -> None:
    recorder("stack", "init", "dev", "--no-select")
    record_everything_of(recorder)


def record_everything_of(recorder: Any) -> None:
    recorder.up("the first", greeting="hello")
    recorder("config", "set", "fail", "yes", "--stack", "dev")
    recorder.up("one that fails", wanted=1)
    recorder("config", "rm", "fail", "--stack", "dev")
    recorder("refresh", "--stack", "dev", "--yes", "--skip-preview", "--message", "a refresh")
    recorder("preview", "--stack", "dev")
    recorder.up(rollback_message(2, 1), greeting="good bye")
    recorder("destroy", "--stack", "dev", "--yes", "--skip-preview", "--message", "the end")


def greeting(deployment: Mapping[str, Any] | None) -> Any:
    stack = (deployment or {})["resources"][0]
    assert stack["type"] == "pulumi:pulumi:Stack"
    return stack["outputs"]["greeting"]


def assert_everything(history: History) -> None:
    assert tuple((entry.kind, entry.succeeded, entry.message) for entry in history.entries) == ALL
    assert [entry.number for entry in history.entries] == [1, 2, 3, 4, 5]
    assert not any(entry.problem for entry in history.entries)
    assert greeting(history.checkpoint(1)) == "hello"
    assert greeting(history.checkpoint(4)) == "good bye"
    assert history.checkpoint(5)["resources"] == []
    assert history.present() == history.checkpoint(5)
    assert history.latest(2) == history.entries[3:]


def files_of(backend: Path) -> dict[str, Any]:
    """The content of each file, by its name without stamps, and in it no time, salt or ciphertext."""
    found: dict[str, Any] = {}
    for file in sorted(path for path in (backend / ".pulumi").rglob("*") if path.is_file()):
        name = re.sub(r"\d{19}", "STAMP", str(file.relative_to(backend)))
        content = json.loads(file.read_text()) if file.suffix == ".json" else file.read_text()
        found[name] = [*found.get(name, []), timeless(content)]
    return found


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        changing = ("time", "startTime", "endTime", "created", "modified", "salt", "ciphertext", "secure")
        return {key: "…" if key in changing else timeless(each) for key, each in value.items()}
    return [timeless(each) for each in value] if isinstance(value, list) else value


@pytest.mark.thorough  # the kills of tests/e2e/test_killed.py are recovered from a journal
def test_by_the_engine_alone_and_by_journal_a_folder_has_the_same_history_in_the_same_files(
    recorder: Any, tmp_path: Path
) -> None:
    """All but `.bak`, of which the engine makes one at each step: the last is the state before the last step."""
    by_engine, by_journal = tmp_path / "by-engine", tmp_path / "by-journal"
    for backend in (by_engine, by_journal):
        backend.mkdir()
        journaled = backend == by_journal
        each = replace(recorder, url=f"file://{backend}?metadata=skip", journaled=journaled)
        (recorder.folder / "Pulumi.dev.yaml").unlink(missing_ok=True)
        each("stack", "init", "dev", "--no-select")
        each("config", "set", "word", "hush", "--secret", "--stack", "dev")
        record_everything_of(each)
        assert_everything(each.history())
    expected, found = files_of(by_engine), files_of(by_journal)
    backups = [name for name in expected if name.endswith(".bak")]
    assert backups == [name for name in found if name.endswith(".bak")]
    for name in backups:
        del expected[name], found[name]
    assert found == expected


@pytest.mark.thorough  # test_update_service.py has what the engine asks for it
def test_a_reference_to_another_stack_in_an_update_by_journal(recorder: Any) -> None:
    for stack in ("dev", "prod"):
        recorder("stack", "init", stack, "--no-select")
    recorder("config", "set", "greeting", "theirs", "--stack", "prod")
    recorder("up", "--stack", "prod", "--yes", "--skip-preview")
    recorder("config", "set", "other", "organization/scratch/prod", "--stack", "dev")
    replace(recorder, journaled=True).up("refers to it")
    (stack,) = (each for each in recorder.history().present()["resources"] if each["type"] == "pulumi:pulumi:Stack")
    assert stack["outputs"]["theirs"] == "theirs"


def test_a_renamed_stack_has_its_states_under_its_new_name(recorder: Any) -> None:
    recorder("stack", "init", "dev", "--no-select")
    recorder.up("the first")
    recorder("stack", "rename", "stage", "--stack", "dev")
    history = History.open(Pulumi(recorder.folder, recorder.environment()), Project(recorder.folder), "stage")
    assert (history.entries[0].message, history.entries[0].problem) == ("the first", "")
    (stack,) = (each for each in history.checkpoint(1)["resources"] if each["type"] == "pulumi:pulumi:Stack")
    assert stack["urn"].startswith("urn:pulumi:stage::")


def test_a_state_of_before_a_change_of_the_passphrase_is_opened_with_the_former_one(recorder: Any) -> None:
    recorder("stack", "init", "dev", "--no-select")
    recorder("config", "set", "word", "hush", "--secret", "--stack", "dev")
    recorder.up("under the old one")
    recorder("stack", "change-secrets-provider", "passphrase", "--stack", "dev", answer="newer\nnewer\n")
    changed = replace(recorder, variables={"PULUMI_CONFIG_PASSPHRASE": "newer"})
    changed.up("under the new one")

    def word(engine: Pulumi, number: int) -> Any:
        opened = decrypted(engine, "scratch", "dev", changed.history().checkpoint(number))
        return values.opened(opened["resources"][0]["outputs"]["word"])

    assert word(changed.engine(), 2) == "hush"
    with pytest.raises(ConfigurationError, match="cannot be decrypted") as caught:
        word(changed.engine(), 1)
    assert FORMER_PASSPHRASE in caught.value.next_step
    both = replace(changed, variables={**changed.variables, FORMER_PASSPHRASE: "of this test"})
    assert [word(both.engine(), number) for number in (1, 2)] == ["hush", "hush"]


@pytest.mark.parametrize(
    ("option", "suffix"), [("GZIP", ".gz"), pytest.param("ZSTD", ".zst", marks=pytest.mark.thorough)]
)
def test_compressed(recorder: Any, tmp_path: Path, option: str, suffix: str) -> None:
    recorder("stack", "init", "dev", "--no-select")
    recorder.up("plain", greeting="plain")
    assert greeting(recorder.history().present()) == "plain"
    recorder.up("packed", greeting="packed", **{f"PULUMI_DIY_BACKEND_{option}": "true"})
    names = {path.name.partition(".")[2] for path in (tmp_path / "backend").rglob("history/**/*.json*")}
    assert {f"history.json{suffix}", f"checkpoint.json{suffix}"} <= names, "the engine compresses"
    history = recorder.history()
    assert [entry.message for entry in history.entries] == ["plain", "packed"]
    assert [greeting(history.checkpoint(number)) for number in (1, 2)] == ["plain", "packed"]
    assert greeting(history.present()) == "packed"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.mark.thorough  # its server is compiled for minutes; test_storage.py has the addresses
@pytest.mark.parametrize(
    ("prefix", "journaled"),
    [("", False), ("/of/a%20team", False), ("/by/a%20journal", True)],  # what is no update is written by the engine
)
def test_in_a_bucket(recorder: Any, s3: S3Server, prefix: str, journaled: bool) -> None:
    bucket = replace(recorder, url=s3.url(prefix), variables=s3.variables, journaled=journaled)
    record_everything(bucket)
    assert_everything(bucket.history())


@pytest.mark.thorough  # test_storage.py reads such a file too
def test_keys_in_the_shared_credentials_file(recorder: Any, s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    keys = "aws_access_key_id = the-key\naws_secret_access_key = the-secret\n"
    (tmp_path / ".aws" / "credentials").write_text(f"[default]\naws_access_key_id = other\n[team]\n{keys}")
    bucket = replace(recorder, url=f"{s3.url('/profile')}&profile=team", variables={"HOME": str(tmp_path)})
    bucket("stack", "init", "dev", "--no-select")
    bucket.up("as a profile")
    assert [entry.message for entry in bucket.history().entries] == ["as a profile"]


@pytest.mark.thorough  # the same server
def test_what_a_bucket_refuses(recorder: Any, s3: S3Server) -> None:
    wrong = {**s3.variables, "AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(ConfigurationError, match=r"backend s3://states/ cannot be read") as caught:
        _ = replace(recorder, url=s3.url(), variables=wrong).history().entries
    assert "SignatureDoesNotMatch" in caught.value.why
    elsewhere = s3.url().replace("s3://states", "s3://not-there")
    with pytest.raises(SlipwayError):
        _ = replace(recorder, url=elsewhere, variables=s3.variables).history().entries


def test_nobody_listens(recorder: Any) -> None:
    engine = Pulumi(recorder.folder, {"PULUMI_BACKEND_URL": "s3://states?endpoint=http://127.0.0.1:9&region=x"})
    history = History.open(engine, Project(recorder.folder), "dev")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        _ = history.entries
