"""The database of a service: connections, tables created at start if no migration creates them, and outages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import URL, MetaData, create_engine, event, literal, make_url, select, text
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable
from werkzeug.exceptions import ServiceUnavailable

from .settings import SettingsError

# Fewer connections than gunicorn has threads: when the database hangs, threads are left to answer /healthz.
POOL_SIZE = 8
POOL_TIMEOUT_SECONDS = 2
CONNECT_TIMEOUT_SECONDS = 2
STATEMENT_TIMEOUT_MS = 5_000
RETRY_AFTER_SECONDS = 2
# errors that say that no database answers, and nothing about the request
UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError)
# any number, as long as every replica takes the same one
_TABLES_LOCK = 7_306_015_412

_log = logging.getLogger("database")


def parse_url(value: str) -> URL:
    """`DATABASE_URL` for SQLite (a file) or PostgreSQL; raises SettingsError, which never repeats the URL."""
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL is not a URL; write DIALECT://USER:PASSWORD@HOST:PORT/DATABASE") from None
    dialect = url.get_backend_name()
    if dialect in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if dialect != "sqlite":
        raise SettingsError(f"DATABASE_URL is for {dialect!r}; this service speaks postgresql and sqlite")
    if url.database in (None, "", ":memory:"):
        raise SettingsError("DATABASE_URL names no file; SQLite in memory is lost, write sqlite:////data/FILE.db")
    return url.set(drivername="sqlite")


class Database:
    """A pool of connections to `url`. The tables of `metadata` are created when it first answers; with `makes_tables`
    false, a migration creates them.
    """

    def __init__(self, url: URL, metadata: MetaData, service: str, *, makes_tables: bool = True) -> None:
        self._metadata = metadata
        self._engine = create_engine(
            url,
            connect_args=_connect_arguments(url, service),
            pool_pre_ping=True,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            pool_recycle=1800,
        )
        if url.get_backend_name() == "sqlite":
            event.listen(self._engine, "connect", _set_up_sqlite)
        self._tables_made = not makes_tables
        self._tables_lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that is committed at the end of the block, and rolled back if it raises."""
        self._make_tables()
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def why_not_ready(self) -> str | None:
        """`None` if every table can be read, else the database's own error in one line."""
        try:
            with self.transaction() as session:
                for table in self._metadata.sorted_tables:
                    session.execute(select(literal(1)).select_from(table).limit(1))
        except SQLAlchemyError as error:
            return f"database: {first_line(error)}"
        return None

    def start(self) -> None:
        """Reads every table now; a database that does not answer is logged, and the first request tries it again."""
        if reason := self.why_not_ready():
            _log.warning("started without a database: %s", reason)

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    def _make_tables(self) -> None:
        if self._tables_made:
            return
        with self._tables_lock, self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # CREATE TABLE IF NOT EXISTS alone fails if two replicas run it at once (unique violation in pg_type)
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TABLES_LOCK})
            for table in self._metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            self._tables_made = True


def init_database(app: Flask) -> None:
    """Answers 503 with Retry-After if a request found no database."""

    def answer(error: Exception) -> ResponseReturnValue:
        _log.error("database unavailable: %s", first_line(error))
        away = ServiceUnavailable("the database does not answer; try again", retry_after=RETRY_AFTER_SECONDS)
        return app.handle_http_exception(away)

    for kind in UNAVAILABLE:
        app.register_error_handler(kind, answer)


def _connect_arguments(url: URL, service: str) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": STATEMENT_TIMEOUT_MS / 1000}
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
        "application_name": service,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
        # poolers that hand one server connection to many clients do not keep prepared statements
        "prepare_threshold": None,
    }
    # values in the URL win (connect_args would override them)
    return {name: value for name, value in arguments.items() if name not in url.query}


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def first_line(error: Exception) -> str:
    """The first line of the database's own error, without the statement."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
