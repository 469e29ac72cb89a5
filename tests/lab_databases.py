"""Databases on the lab's PostgreSQL for tests: each in a schema of its own, which is dropped afterwards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from slipway.paths import STACK_PLACEHOLDER, lab_environment_file

ENVIRONMENT = "dev"


def lab_database(name: str) -> str:
    """The URL of a database that the lab has for its environment `dev`, such as `order_service`."""
    file = str(json.loads(lab_environment_file().read_text())[f"{name.upper()}_DATABASE_URL_FILE"])
    return Path(file.replace(STACK_PLACEHOLDER, ENVIRONMENT)).read_text().strip()


@contextmanager
def own_schema(database: str) -> Iterator[str]:
    """That URL, whose tables live and die in a new schema."""
    url = make_url(database).set(drivername="postgresql")
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            own = url.update_query_dict({"options": f"-csearch_path={name}"})
            yield own.render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
