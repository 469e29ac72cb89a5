"""A migration runs once on each database, and again where somebody says so, whose database has lost its tables."""

from __future__ import annotations

import json
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from tests.lab_databases import lab_database, own_schema

pytestmark = [pytest.mark.lab, pytest.mark.e2e]


def migration(project: Any) -> str:
    """The name of the Job that has migrated order-service's database."""
    jobs = project.get(f"/apis/batch/v1/namespaces/{project.namespace}/jobs?labelSelector=slipway.dev/migration")
    (job,) = jobs["items"]
    assert job["status"]["conditions"][-1]["type"] == "Complete"
    return str(job["metadata"]["name"])


def orders(project: Any) -> int:
    """How many there are, as the service says."""
    answer = httpx.get(f"{project.url('order-service')}/orders")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])


@pytest.mark.thorough
def test_a_database_gets_its_tables_whenever_it_comes_to_lack_them(whole_example: Any) -> None:
    project = whole_example
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    job = migration(project)
    settings = project.folder / "Pulumi.e2e.yaml"
    larger = json.dumps({"order-service": {"resources": {"memory": "144Mi"}}})
    project.replace(settings.name, "config:", f"config:\n  slipway:services: {larger}")
    assert (again := project.up()).code == 0, again.output
    assert migration(project) == job, "nothing that the migration is given has changed"

    with own_schema(lab_database("order_service")) as url:
        (before,) = (line for line in settings.read_text().splitlines() if "order-service:DATABASE_URL" in line)
        project.replace(settings.name, before, f"  order-service:DATABASE_URL: {url}")
        moved = project.up()
        assert moved.code == 0, moved.output
        assert (second := migration(project)) != job
        assert orders(project) == 0

        with psycopg.connect(make_url(url).render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute("DROP TABLE orders, alembic_version")
        forced = project.slipway("up", "-s", "e2e", "--yes", "--force")
        assert forced.code == 0, forced.output
        assert migration(project) not in (job, second)
        assert orders(project) == 0
        # The services end before the schema does.
        assert project.run("kubectl", "delete", "namespace", project.namespace, "--wait").code == 0
