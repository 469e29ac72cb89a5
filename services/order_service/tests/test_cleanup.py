"""order-cleanup: what it deletes and what it leaves, and what it says."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from kit.database import Database
from kit_testing.fixtures import run_python
from sqlalchemy import select

cleanup = importlib.import_module("order_service.cleanup")
orders = importlib.import_module("order_service.orders")

NOW = datetime.now(UTC)


@pytest.fixture
def database(app: Flask) -> Database:
    """That of the service, with orders of many days, and one that is still open, the oldest of all."""
    found: Database = app.extensions["database"]
    with found.transaction() as session:
        for days in (None, 100, 91, 89, 0):
            confirmed = None if days is None else NOW - timedelta(days=days)
            created = NOW - timedelta(days=200)
            session.add(orders.Order(user_id=1, item=f"{days}", quantity=1, created_at=created, confirmed_at=confirmed))
    return found


def items(database: Database) -> list[str]:
    with database.transaction() as session:
        return list(session.scalars(select(orders.Order.item).order_by(orders.Order.id)))


def test_orders_confirmed_long_ago_are_deleted_and_open_ones_stay(database: Database) -> None:
    assert cleanup.delete_old_orders(database, NOW - timedelta(days=90)) == 2
    assert items(database) == ["None", "89", "0"]
    assert cleanup.delete_old_orders(database, NOW - timedelta(days=90)) == 0


def test_many_are_deleted_a_batch_at_a_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 1)
    assert cleanup.delete_old_orders(database, NOW + timedelta(days=1)) == 4
    assert items(database) == ["None"]


def test_a_run_says_what_it_has_done_and_ends(database: Database, folder: Path, environment: dict[str, str]) -> None:
    ended = run_python(folder, {**environment, "KEEP_DAYS": "90"}, "-m", "order_service.cleanup")
    assert ended.returncode == 0, ended.stderr
    (line,) = (json.loads(each) for each in ended.stdout.splitlines())
    assert (line["service"], line["message"], line["orders"]) == ("order-cleanup", "old orders deleted", 2)
    assert items(database) == ["None", "89", "0"]
