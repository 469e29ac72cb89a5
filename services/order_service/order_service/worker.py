"""order-worker: confirms the orders that are open, again and again, until its pod ends."""

from __future__ import annotations

import logging
import logging.config
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from kit import settings
from kit.database import UNAVAILABLE, Database, first_line
from kit.logs import log_config
from sqlalchemy import URL, func, select
from sqlalchemy.exc import ProgrammingError

from .orders import Order, open_database
from .settings import database_url

SERVICE = "order-worker"
# What one transaction takes: another worker skips these rows and takes the next.
BATCH = 100

_log = logging.getLogger(SERVICE)


@dataclass(frozen=True)
class Settings:
    """`heartbeat` is the file that its probes look at."""

    database_url: URL
    interval_seconds: float
    heartbeat: Path
    log_level: str = "info"


def confirm_open_orders(database: Database, limit: int = BATCH) -> int:
    """Confirms up to `limit` orders, the oldest first; returns how many. Orders that another worker has are skipped."""
    with database.transaction() as session:
        open_orders = session.scalars(
            select(Order)
            .where(Order.confirmed_at.is_(None))
            .order_by(Order.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        for order in open_orders:
            order.confirmed_at = func.now()
    return len(open_orders)


def run(database: Database, stopped: threading.Event, interval_seconds: float, heartbeat: Path) -> None:
    """Confirms what is open every `interval_seconds` until `stopped`, at once again while a batch is full.

    `heartbeat` is touched after the first round that found the database and its tables, and after each round since: a
    database that is away later is no reason to restart this.
    """
    has_worked = False
    while not stopped.is_set():
        confirmed = 0
        try:
            confirmed = confirm_open_orders(database)
            has_worked = True
        except (*UNAVAILABLE, ProgrammingError) as error:  # the latter before the migration has ended
            _log.warning("no orders were confirmed: %s", first_line(error))
        if confirmed:
            _log.info("orders confirmed", extra={"fields": {"orders": confirmed}})
        if has_worked:
            heartbeat.touch()
        if confirmed < BATCH:
            stopped.wait(interval_seconds)


def main() -> None:
    """Runs until SIGTERM; a batch that is under way is committed first."""
    chosen = settings.read_or_exit(SERVICE, _read)
    logging.config.dictConfig(log_config(SERVICE, chosen.log_level))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    database = open_database(chosen.database_url, SERVICE)
    run(database, stopped, chosen.interval_seconds, chosen.heartbeat)
    database.close()
    _log.info("stopped")


def _read() -> Settings:
    return Settings(
        database_url=database_url(),
        interval_seconds=settings.positive_number("INTERVAL_SECONDS", "5"),
        heartbeat=Path(settings.required("HEARTBEAT_FILE", "/tmp/alive")),  # noqa: S108
        log_level=settings.log_level(),
    )


if __name__ == "__main__":
    main()
