"""The database of a service: allowed URLs, tables created once, and outages."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from kit import database
from kit.settings import SettingsError
from sqlalchemy import select, text
from sqlalchemy.engine import make_url


@pytest.mark.parametrize(
    ("value", "driver"),
    [
        ("postgresql://u:p@host:5432/db", "postgresql+psycopg"),
        ("postgres://u:p@host/db", "postgresql+psycopg"),
        ("postgresql+psycopg2://u:p@host/db?sslmode=require", "postgresql+psycopg"),
        ("sqlite:////data/a.db", "sqlite"),
    ],
)
def test_urls_get_the_driver_that_is_installed(value: str, driver: str) -> None:
    assert database.parse_url(value).drivername == driver


@pytest.mark.parametrize("value", ["secret", "://secret", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_without_repeating_them(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        database.parse_url(value)
    assert "DATABASE_URL" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_postgresql_is_given_time_limits_and_the_url_wins() -> None:
    arguments = database._connect_arguments(make_url("postgresql+psycopg://h/d"), "a-service")
    assert arguments["connect_timeout"] == database.CONNECT_TIMEOUT_SECONDS
    assert arguments["application_name"] == "a-service"
    assert "statement_timeout=5000" in arguments["options"]
    chosen = database._connect_arguments(make_url("postgresql+psycopg://h/d?connect_timeout=9"), "a-service")
    assert "connect_timeout" not in chosen


def test_a_database_that_does_not_answer_makes_it_unready_and_requests_503(app: Flask, package: str) -> None:
    tables = app.extensions["database"]._metadata
    # port 1 of the loopback address: refused at once, by the real driver
    away = database.Database(make_url("postgresql+psycopg://u:secret@127.0.0.1:1/d"), tables, package)
    away.start()
    reason = away.why_not_ready()
    assert reason is not None
    assert reason.startswith("database: ")
    assert "refused" in reason
    assert "secret" not in reason
    app.extensions["database"] = away
    answer = app.test_client().get(f"/{package.partition('_')[0]}s")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.get_json()["detail"] == "the database does not answer; try again"


def test_a_database_that_comes_later_is_used(app: Flask, tmp_path: Path) -> None:
    tables = app.extensions["database"]._metadata
    late = database.Database(make_url(f"sqlite:///{tmp_path}/late/service.db"), tables, "a-service")
    late.start()
    assert late.why_not_ready() == "database: unable to open database file"
    (tmp_path / "late").mkdir()
    assert late.why_not_ready() is None


def test_a_lost_table_makes_it_unready(app: Flask) -> None:
    its = app.extensions["database"]
    table = its._metadata.sorted_tables[0].name
    with its.transaction() as session:
        session.execute(text(f"DROP TABLE {table}"))
    assert table in its.why_not_ready()


def test_a_failed_transaction_leaves_nothing(app: Flask) -> None:
    its = app.extensions["database"]
    table = its._metadata.sorted_tables[0]
    required = [column for column in table.columns if not column.nullable and column.server_default is None]
    values = {column.name: 1 if column.name.endswith(("id", "quantity")) else "a" for column in required}
    with pytest.raises(ZeroDivisionError), its.transaction() as session:
        session.execute(table.insert().values(values))
        raise ZeroDivisionError
    with its.transaction() as session:
        assert session.execute(select(table)).all() == []


def test_sqlite_lets_readers_and_a_writer_work_side_by_side(app: Flask) -> None:
    with app.extensions["database"].transaction() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"


@pytest.mark.slow
def test_replicas_that_start_at_once_make_the_tables_once(
    folder: Path, environment: dict[str, str], package: str
) -> None:
    code = f"from {package}.main import create_app as c; print(c().extensions['database'].why_not_ready())"
    replicas = [
        subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [replica.communicate(timeout=60)[0].strip() for replica in replicas] == ["None"] * 2
    file = environment["DATABASE_URL"].removeprefix("sqlite:///")
    names = sqlite3.connect(file).execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
    assert names[0] >= 1
