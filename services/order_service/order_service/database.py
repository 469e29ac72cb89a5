"""The database of the orders, which order-service, order-worker and order-cleanup share."""

from __future__ import annotations

from kit.database import Database
from sqlalchemy import URL

from .orders import Base


def open_database(url: URL, service: str) -> Database:
    """In PostgreSQL the migration has made the tables; a file of SQLite is in one pod alone, which makes them there."""
    return Database(url, Base.metadata, service, makes_tables=url.get_backend_name() == "sqlite")
