"""The orders: their table and its database, and what callers may send and get of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypedDict

from kit.database import Database
from kit.payload import Id, Page, Payload, Text
from pydantic import Field
from sqlalchemy import URL, CheckConstraint, DateTime, Index, String, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_QUANTITY = 1_000_000
Status = Literal["open", "confirmed"]


class Base(DeclarativeBase):
    """The tables of order-service. In PostgreSQL the migrations create them; a test compares the two."""


class OrderBody(TypedDict):
    """An order as callers get it."""

    id: int
    user_id: int
    item: str
    quantity: int
    status: Status


class Order(Base):
    """A row of `orders`; `user_id` is the id of a user in user-service, which has a database of its own.

    Placed through HTTP, confirmed by order-worker, deleted by order-cleanup.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_is_positive"),
        # what order-worker looks for: few of many
        Index("ix_orders_open", "id", postgresql_where=text("confirmed_at IS NULL")),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(index=True)
    item: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)

    def body(self) -> OrderBody:
        """The order as JSON."""
        return {
            "id": self.id,
            "user_id": self.user_id,
            "item": self.item,
            "quantity": self.quantity,
            "status": "open" if self.confirmed_at is None else "confirmed",
        }


class NewOrder(Payload):
    """What a caller sends to place an order."""

    user_id: Id
    item: Text
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class OrderPage(Page):
    """Which orders to list: all, or those of one user or one status."""

    user_id: Id | None = None
    status: Status | None = None


def open_database(url: URL, service: str) -> Database:
    """The database that order-service, order-worker and order-cleanup share. In PostgreSQL the migration has created
    the tables; a file of SQLite is in one pod alone, which creates them there.
    """
    return Database(url, Base.metadata, service, makes_tables=url.get_backend_name() == "sqlite")
