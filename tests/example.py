"""The services of this repository as most tests have them: the two that answer over HTTP, with SQLite in their pods."""

from __future__ import annotations

import shutil
from pathlib import Path

SERVICES = ("order-cleanup", "order-service", "order-worker", "user-service")
# They work on the database of order-service, and so need one that several pods can reach.
WITH_POSTGRESQL = ("order_worker", "order_cleanup")
MIGRATION = "migration: {command: [python, -m, alembic, upgrade, head]}"


def leave_out_postgresql(folder: Path) -> None:
    """Take out of a copy of the checkout what needs PostgreSQL: two services, and the migration of a third."""
    for name in WITH_POSTGRESQL:
        shutil.rmtree(folder / "services" / name)
    file = folder / "services/order_service/service.yaml"
    text = file.read_text()
    assert MIGRATION in text, f"{file} does not have {MIGRATION!r}"
    file.write_text(text.replace(MIGRATION, "#"))
