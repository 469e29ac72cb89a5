"""order-cleanup: deletes orders that were confirmed long ago, once, and ends."""

from __future__ import annotations

import logging
import logging.config
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kit import settings
from kit.database import Database
from kit.logs import log_config
from sqlalchemy import URL, delete, select

from .orders import Order, open_database
from .settings import database_url

SERVICE = "order-cleanup"
# Of one transaction: the tables stay usable beside it.
BATCH = 1000

_log = logging.getLogger(SERVICE)


@dataclass(frozen=True)
class Settings:
    """`keep_days` is how long a confirmed order stays."""

    database_url: URL
    keep_days: float
    log_level: str = "info"


def delete_old_orders(database: Database, before: datetime) -> int:
    """Deletes the orders that were confirmed before that time; returns how many. Open ones stay, however old."""
    deleted = 0
    while True:
        with database.transaction() as session:
            old = select(Order.id).where(Order.confirmed_at < before).limit(BATCH).with_for_update(skip_locked=True)
            found = session.scalars(delete(Order).where(Order.id.in_(old)).returning(Order.id)).all()
        deleted += len(found)
        if len(found) < BATCH:
            return deleted


def main() -> None:
    """One run; a database that is away ends it with a traceback and exit code 1, which `slipway verify` shows."""
    chosen = settings.read_or_exit(SERVICE, _read)
    logging.config.dictConfig(log_config(SERVICE, chosen.log_level))
    database = open_database(chosen.database_url, SERVICE)
    before = datetime.now(UTC) - timedelta(days=chosen.keep_days)
    deleted = delete_old_orders(database, before)
    database.close()
    _log.info("old orders deleted", extra={"fields": {"orders": deleted, "before": before.isoformat()}})


def _read() -> Settings:
    return Settings(
        database_url=database_url(),
        keep_days=settings.positive_number("KEEP_DAYS", "90"),
        log_level=settings.log_level(),
    )


if __name__ == "__main__":
    main()
