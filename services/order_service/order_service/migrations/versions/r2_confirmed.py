"""When an order was placed, and when it was confirmed.

It only adds: the release before, whose pods answer while this runs, places orders without knowing of either column. A
column that is to go is therefore dropped by the release after the one that stops using it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    now = sa.func.now()
    op.add_column("orders", sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False))
    op.add_column("orders", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_orders_open", "orders", ["id"], postgresql_where=sa.text("confirmed_at IS NULL"))
