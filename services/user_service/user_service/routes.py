"""The HTTP interface of user-service: list, create, read and delete users."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, current_app, jsonify, url_for
from kit.database import Database
from kit.payload import MAX_ID, Page, read_body, read_query
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Conflict, NotFound

from .users import NewUser, User

users = Blueprint("users", __name__)

_ONE = "/users/<int:user_id>"


def _database() -> Database:
    return cast(Database, current_app.extensions["database"])


def _no_such(user_id: int) -> NotFound:
    return NotFound(f"there is no user {user_id}")


@users.get("/users")
def list_users() -> Response:
    """A page of users in the order they were created, and how many there are."""
    page = read_query(Page)
    with _database().transaction() as session:
        total = session.scalar(select(func.count()).select_from(User))
        found = session.scalars(select(User).order_by(User.id).limit(page.limit).offset(page.offset)).all()
    return jsonify(users=[user.body() for user in found], total=total, limit=page.limit, offset=page.offset)


@users.post("/users")
def create_user() -> tuple[Response, int, dict[str, str]]:
    """Creates a user: 201 with its address, 409 where the e-mail address is taken."""
    new = read_body(NewUser)
    user = User(name=new.name, email=new.email)
    try:
        with _database().transaction() as session:
            session.add(user)
    except IntegrityError as error:
        raise Conflict(f"there is a user with the e-mail address {new.email} already") from error
    return jsonify(user.body()), 201, {"Location": url_for("users.read_user", user_id=user.id)}


@users.get(_ONE)
def read_user(user_id: int) -> Response:
    """One user."""
    if user_id > MAX_ID:
        raise _no_such(user_id)
    with _database().transaction() as session:
        user = session.get(User, user_id)
    if user is None:
        raise _no_such(user_id)
    return jsonify(user.body())


@users.delete(_ONE)
def delete_user(user_id: int) -> tuple[str, int]:
    """Deletes one user; its orders stay."""
    if user_id > MAX_ID:
        raise _no_such(user_id)
    with _database().transaction() as session:
        deleted = session.execute(delete(User).where(User.id == user_id).returning(User.id)).scalar()
    if deleted is None:
        raise _no_such(user_id)
    return "", 204
