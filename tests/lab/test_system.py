"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lab.system import last_lines, make_folder, read_json_object, write_json, write_text


def test_says_whether_anything_changed_and_keeps_the_file_when_not(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    assert write_text(path, "one")
    inode = path.stat().st_ino
    assert not write_text(path, "one")
    assert path.stat().st_ino == inode
    assert write_text(path, "two")
    assert path.read_text() == "two"


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o644)
    write_text(path, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    write_text(path, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3"])
def test_what_is_no_json_object_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_text(content)
    assert read_json_object(path) is None


def test_json_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"pid": 1})
    assert read_json_object(tmp_path / "record.json") == {"pid": 1}


def test_make_folder_tightens_an_existing_one(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    make_folder(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert last_lines(log, 2) == "line 99998\nline 99999"
    assert last_lines(tmp_path / "none") == ""
