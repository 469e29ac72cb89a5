"""Every refusal and failure as a JSON body in the format of RFC 9457 (application/problem+json)."""

from __future__ import annotations

from typing import Any, TypedDict

from flask import Flask, json
from werkzeug.exceptions import HTTPException, UnprocessableEntity
from werkzeug.wrappers import Response

from .logs import request_id

CONTENT_TYPE = "application/problem+json"


class FieldError(TypedDict):
    """One wrong field: its name, dotted where nested, and what to do about it."""

    field: str
    message: str


class InvalidInput(UnprocessableEntity):
    """The caller's input is well-formed but wrong: 422 with one entry per wrong field."""

    def __init__(self, errors: list[FieldError]) -> None:
        names = ", ".join(sorted({error["field"] for error in errors}))
        super().__init__(f"what was sent is not valid: {names}")
        self.errors = errors


def init_problems(app: Flask) -> None:
    """Answers every HTTPException, unhandled exceptions (500) included, with a problem."""
    app.register_error_handler(HTTPException, _answer)


def _answer(error: HTTPException) -> Response:
    # keeps the headers that belong to the status: Allow of 405, Retry-After of 503
    response = error.get_response()
    if error.code is None or error.code < 400:
        return response
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.name,
        "status": error.code,
        "detail": error.description,
        "request_id": request_id(),
    }
    if isinstance(error, InvalidInput):
        body["errors"] = error.errors
    response.data = json.dumps(body)
    response.content_type = CONTENT_TYPE
    return response
