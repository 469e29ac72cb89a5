"""The orders: their table, and what callers may send and get of them."""

from __future__ import annotations

from typing import Annotated, TypedDict

from kit.payload import Id, Page, Payload, Text
from pydantic import Field
from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_QUANTITY = 1_000_000


class Base(DeclarativeBase):
    """The tables of order-service."""


class OrderBody(TypedDict):
    """An order as callers get it."""

    id: int
    user_id: int
    item: str
    quantity: int


class Order(Base):
    """A row of `orders`; `user_id` is the id of a user in user-service, which has a database of its own."""

    __tablename__ = "orders"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_is_positive"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(index=True)
    item: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]

    def body(self) -> OrderBody:
        """The order as JSON."""
        return {"id": self.id, "user_id": self.user_id, "item": self.item, "quantity": self.quantity}


class NewOrder(Payload):
    """What a caller sends to place an order."""

    user_id: Id
    item: Text
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class OrderPage(Page):
    """Which orders to list: all, or those of one user."""

    user_id: Id | None = None
