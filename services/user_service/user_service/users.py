"""The users: their table, and what callers may send and get of them."""

from __future__ import annotations

import re
from typing import Annotated, TypedDict

from kit.payload import Payload, Text
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# 254: the longest address a mail server accepts in a path (RFC 5321, erratum 1690)
MAX_EMAIL_LENGTH = 254
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")


class Base(DeclarativeBase):
    """The tables of user-service."""


class UserBody(TypedDict):
    """A user as callers get it."""

    id: int
    name: str
    email: str


class User(Base):
    """A row of `users`; ids are never given twice, because orders keep them."""

    __tablename__ = "users"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 (SQLAlchemy's own way)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(MAX_EMAIL_LENGTH), unique=True)

    def body(self) -> UserBody:
        """The user as JSON."""
        return {"id": self.id, "name": self.name, "email": self.email}


def _email(value: str) -> str:
    # Only the shape: whether an address exists, a message to it shows. Lower case, so that one address is one user.
    if len(value) > MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(value):
        raise PydanticCustomError(
            "email",
            "Should be an address like name@example.org, of at most {limit} characters",
            {"limit": MAX_EMAIL_LENGTH},
        )
    return value.lower()


class NewUser(Payload):
    """What a caller sends to create a user."""

    name: Text
    email: Annotated[str, AfterValidator(_email)]
