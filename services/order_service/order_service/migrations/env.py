"""How Alembic migrates the orders: on DATABASE_URL, one replica at a time, each version in a transaction."""

from __future__ import annotations

import logging.config

from alembic import context
from kit import settings
from kit.logs import log_config
from order_service.orders import Base
from order_service.settings import SERVICE, database_url
from sqlalchemy import create_engine, text

CONNECT_TIMEOUT_SECONDS = 10
# any number, as long as every run takes the same one
LOCK = 7_306_015_413
# A statement that waits for a lock keeps every later one waiting: rather fail, and be run again by the next update.
LOCK_TIMEOUT_MS = 10_000

# Statements that are printed are for psql, which takes no lines of a log.
logging.config.dictConfig(log_config(SERVICE, "warning" if context.is_offline_mode() else "info"))


def run_online() -> None:
    """Migrates a database of PostgreSQL."""
    url = settings.read_or_exit(SERVICE, database_url)
    if url.get_backend_name() == "sqlite":
        logging.getLogger(SERVICE).info("nothing to migrate: a file of SQLite is made by the service, in its own pod")
        return
    engine = create_engine(url, connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS})
    with engine.connect() as connection:
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
            connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
        context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def print_statements() -> None:
    """What `alembic upgrade head --sql` prints: the statements, for somebody who runs them by hand."""
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_statements()
else:
    run_online()
