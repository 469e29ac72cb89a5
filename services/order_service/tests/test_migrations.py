"""The migrations: one line of versions, and statements that a person can read; a real database has them elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from kit_testing.fixtures import run_python


def alembic(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(folder, environment, "-m", "alembic", *arguments)


def test_there_is_one_newest_version(folder: Path) -> None:
    """Two branches that each add a version are put in order before they are merged."""
    versions = ScriptDirectory.from_config(Config(str(folder / "alembic.ini")))
    assert len(versions.get_heads()) == 1
    assert len(versions.get_bases()) == 1


def test_the_statements_can_be_printed(folder: Path, environment: dict[str, str]) -> None:
    printed = alembic(folder, environment, "upgrade", "head", "--sql")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.startswith("BEGIN;")
    assert "CREATE TABLE IF NOT EXISTS orders" in printed.stdout
    assert "ALTER TABLE orders ADD COLUMN confirmed_at TIMESTAMP WITH TIME ZONE;" in printed.stdout
    assert "DROP" not in printed.stdout


def test_a_file_of_sqlite_is_left_to_the_service(folder: Path, environment: dict[str, str], tmp_path: Path) -> None:
    done = alembic(folder, environment, "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert "nothing to migrate" in done.stdout
    assert not (tmp_path / "service.db").exists()


def test_a_database_that_is_away_ends_it(folder: Path, environment: dict[str, str]) -> None:
    environment["DATABASE_URL"] = "postgresql://u:secret@127.0.0.1:1/d"
    failed = alembic(folder, environment, "upgrade", "head")
    assert failed.returncode == 1
    assert "Connection refused" in failed.stderr
    assert "secret" not in failed.stdout + failed.stderr
