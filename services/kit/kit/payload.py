"""Reads the JSON body or query of a request into a pydantic model, or refuses it field by field."""

from __future__ import annotations

from typing import Annotated, TypeVar

from flask import Flask, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from .problems import FieldError, InvalidInput

MAX_BODY_BYTES = 16 * 1024
# ids are 32-bit columns; a larger number would be an error of the database instead of a plain "not found"
MAX_ID = 2**31 - 1

Model = TypeVar("Model", bound=BaseModel)


class Payload(BaseModel):
    """A body: no unknown fields, no conversions (`"3"` is no number), texts without spaces around them."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True, frozen=True)


class Query(BaseModel):
    """A query string: no unknown parameters; texts become the numbers they spell."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Query):
    """The part of a list to answer with."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    offset: Annotated[int, Field(ge=0, le=MAX_ID)] = 0


def _printable(value: str) -> str:
    # PostgreSQL refuses NUL in a text, and a line break in a name is an attempt at something else
    if not value.isprintable():
        raise PydanticCustomError("not_printable", "Text should have no control characters or line breaks")
    return value


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]


def init_payload(app: Flask) -> None:
    """Limits how much of a body is read."""
    # One byte more than allowed: Werkzeug silently cuts a chunked body off at the limit, `read_body` notices.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1


def read_body(model: type[Model]) -> Model:
    """The request's body; raises 415 (no JSON by its type), 400 (malformed), 413 (too large) or InvalidInput (422)."""
    if not request.is_json:
        met = request.mimetype or "no Content-Type"
        raise UnsupportedMediaType(f"send JSON with Content-Type: application/json, not {met}")
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise BadRequest(f"the body is not JSON: {first['ctx']['error']}") from error
        raise _refusal(error, unnamed="body") from error


def read_query(model: type[Model]) -> Model:
    """The request's query parameters; raises InvalidInput (422)."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise _refusal(error, unnamed="query") from error


def _refusal(error: ValidationError, *, unnamed: str) -> InvalidInput:
    errors: list[FieldError] = []
    for found in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in found["loc"]) or unnamed
        message = "Unknown field" if found["type"] == "extra_forbidden" else found["msg"]
        errors.append({"field": field, "message": message})
    return InvalidInput(errors)
