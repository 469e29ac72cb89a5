"""What an approval holds for, and how what moved is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.backend import UpdateInfo, UpdateKind
from slipway.deploy.approval import Approval, changed_since_preview, file_hashes, normalized, setting_hashes
from slipway.values import SECRET_SIGNATURE, SIGNATURE

NOW = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)
APPROVAL = Approval(NOW, "a" * 40, {"__main__.py": "1", "components/pod.py": "2"}, {"slipway:context": "3"}, "4")
SETTINGS = """\
encryptionsalt: v1:salt
config:
  slipway:services:
    user-service: {replicas: 2, env: {LOG_LEVEL: info}}
  user-service:DATABASE_URL:
    secure: v1:abc
"""


def test_nothing_moved() -> None:
    assert changed_since_preview(APPROVAL, replace(APPROVAL, taken=datetime.now(UTC))) == []


def test_each_thing_that_moved_has_a_line_of_its_own() -> None:
    after = replace(
        APPROVAL,
        commit="b" * 40,
        files={"__main__.py": "changed", "services/new.py": "5"},
        settings={"slipway:context": "other", "slipway:registry": "6"},
    )
    assert changed_since_preview(APPROVAL, after) == [
        "commit: aaaaaaaa → bbbbbbbb",
        "files: __main__.py (changed), components/pod.py (removed), services/new.py (new)",
        "settings: slipway:context (changed), slipway:registry (new)",
    ]


def test_many_files_are_told_by_their_number() -> None:
    after = replace(APPROVAL, files={**APPROVAL.files, **{f"services/{number}.py": "" for number in range(10)}})
    (line,) = changed_since_preview(APPROVAL, after)
    assert line.endswith("services/7.py (new) and 2 more")


def test_a_state_that_moved_names_the_updates_that_did_it() -> None:
    entry = UpdateInfo(7, UpdateKind.UPDATE, succeeded=True, started=NOW, author="Ada", commit="c" * 40)
    other = replace(entry, number=8, kind=UpdateKind.ROLLBACK, author="", commit="", succeeded=False)
    at = NOW.astimezone().strftime("%H:%M:%S")
    assert changed_since_preview(APPROVAL, replace(APPROVAL, state="5"), [entry, other]) == [
        f"state: update #7 by Ada, started at {at}, commit cccccccc, succeeded",
        f"state: rollback #8, started at {at}, failed",
    ]


def test_a_state_that_moved_without_an_update() -> None:
    (line,) = changed_since_preview(APPROVAL, replace(APPROVAL, state="5"))
    assert "no update was recorded" in line


def test_settings_are_known_by_their_key_and_never_by_their_value() -> None:
    hashes = setting_hashes(SETTINGS)
    assert set(hashes) == {
        "slipway:services.user-service.replicas",
        "slipway:services.user-service.env.LOG_LEVEL",
        "user-service:DATABASE_URL",
    }
    assert "v1:abc" not in str(hashes)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("v1:salt", "v1:other", 0),
        ("replicas: 2", "replicas: 3", 1),
        ("v1:abc", "v1:def", 1),
        ("encryptionsalt: v1:salt", "secretsprovider: awskms://key", 1),
    ],
)
def test_the_salt_alone_is_no_setting(old: str, new: str, changes: int) -> None:
    before, after = setting_hashes(SETTINGS), setting_hashes(SETTINGS.replace(old, new))
    assert len(set(before.items()) ^ set(after.items())) == changes * (1 if "provider" in new else 2)


@pytest.mark.parametrize("text", ["", "config:\n", "config: {}\n"])
def test_no_settings_at_all(text: str) -> None:
    assert setting_hashes(text) == {}


def test_sources_of_services_count_and_what_tools_leave_does_not(tmp_path: Path) -> None:
    kept = {
        "slipway/cluster/checks.py",
        "__main__.py",
        "components/pod.py",
        "services/a/Dockerfile",
        "services/a/.dockerignore",
        "Pulumi.yaml",
    }
    left = {
        "slipway/templates/python/app.py",
        "README.md",
        "services/a/__pycache__/x.pyc",
        "services/a/.mypy_cache/x",
        "Pulumi.dev.yaml",
    }
    left |= {"services/a/venv/pyvenv.cfg", "services/a/venv/lib/x.py"}
    for name in kept | left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "services/a/nowhere").symlink_to("missing")
    (tmp_path / "components/.#pod.py").symlink_to("ada@host.1234")  # an editor's, of a file that is being edited
    assert set(file_hashes(tmp_path)) == kept | {"services/a/nowhere"}


def test_a_changed_source_has_another_hash(tmp_path: Path) -> None:
    source = tmp_path / "services" / "a" / "app.py"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    before = file_hashes(tmp_path)
    source.write_text("2")
    assert file_hashes(tmp_path) != before


def test_what_every_update_writes_anew_is_no_change_of_the_state() -> None:
    def written(time: str, ciphertext: str) -> dict[str, object]:
        secret = {SIGNATURE: SECRET_SIGNATURE, "ciphertext": ciphertext}
        return {"manifest": {"time": time}, "resources": [{"urn": "a", "inputs": {"data": secret}}]}

    assert normalized(written("1", "v1:a")) == normalized(written("2", "v1:b"))
    changed = written("1", "v1:a") | {"resources": []}
    assert normalized(written("1", "v1:a")) != normalized(changed)
