"""The HTTP interface of order-service: list, place, read and delete orders."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, current_app, jsonify, url_for
from kit.database import Database
from kit.payload import MAX_ID, read_body, read_query
from kit.problems import InvalidInput
from sqlalchemy import delete, func, select
from werkzeug.exceptions import NotFound

from .orders import NewOrder, Order, OrderPage
from .user_service import UserService

orders = Blueprint("orders", __name__)

_ONE = "/orders/<int:order_id>"


def _database() -> Database:
    return cast(Database, current_app.extensions["database"])


def _no_such(order_id: int) -> NotFound:
    return NotFound(f"there is no order {order_id}")


@orders.get("/orders")
def list_orders() -> Response:
    """A page of orders in the order they were placed, and how many there are; `user_id` takes one user's, `status`
    those that are open or confirmed.
    """
    page = read_query(OrderPage)
    chosen = [] if page.user_id is None else [Order.user_id == page.user_id]
    if page.status is not None:
        chosen.append(Order.confirmed_at.is_(None) if page.status == "open" else Order.confirmed_at.is_not(None))
    with _database().transaction() as session:
        total = session.scalar(select(func.count()).select_from(Order).where(*chosen))
        found = session.scalars(
            select(Order).where(*chosen).order_by(Order.id).limit(page.limit).offset(page.offset)
        ).all()
    return jsonify(orders=[order.body() for order in found], total=total, limit=page.limit, offset=page.offset)


@orders.post("/orders")
def create_order() -> tuple[Response, int, dict[str, str]]:
    """Places an order: 201 with its address, 422 where user-service knows no such user, 503 where it is away."""
    new = read_body(NewOrder)
    user_service = cast(UserService, current_app.extensions["user_service"])
    if not user_service.has_user(new.user_id):
        raise InvalidInput([{"field": "user_id", "message": f"There is no user {new.user_id}"}])
    order = Order(user_id=new.user_id, item=new.item, quantity=new.quantity)
    with _database().transaction() as session:
        session.add(order)
    return jsonify(order.body()), 201, {"Location": url_for("orders.read_order", order_id=order.id)}


@orders.get(_ONE)
def read_order(order_id: int) -> Response:
    """One order."""
    if order_id > MAX_ID:
        raise _no_such(order_id)
    with _database().transaction() as session:
        order = session.get(Order, order_id)
    if order is None:
        raise _no_such(order_id)
    return jsonify(order.body())


@orders.delete(_ONE)
def delete_order(order_id: int) -> tuple[str, int]:
    """Deletes one order."""
    if order_id > MAX_ID:
        raise _no_such(order_id)
    with _database().transaction() as session:
        deleted = session.execute(delete(Order).where(Order.id == order_id).returning(Order.id)).scalar()
    if deleted is None:
        raise _no_such(order_id)
    return "", 204
