"""The HTTP interface of sample-service."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from kit.problems import InvalidInput

from .settings import SERVICE

greetings = Blueprint("greetings", __name__)

MAX_NAME_LENGTH = 100


@greetings.get("/hello")
def greet() -> Response:
    """A greeting for `name`, or for the world; 422 where the name is too long."""
    name = request.args.get("name", "").strip() or "world"
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidInput([{"field": "name", "message": f"Should have at most {MAX_NAME_LENGTH} characters"}])
    return jsonify(greeting=f"Hello, {name}!", service=SERVICE)
