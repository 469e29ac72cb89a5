"""Common parts of the models of `service.yaml`: the base class and the types of their values."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr
from pydantic.alias_generators import to_camel


def absolute_path(text: str) -> str:
    """The text itself; raises ValueError if it is no path that a request or a mount can use."""
    if not text.startswith("/") or any(character.isspace() for character in text):
        raise ValueError(f"{text!r} must start with '/' and have no blanks")
    return text


AbsolutePath = Annotated[StrictStr, AfterValidator(absolute_path)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Seconds = Annotated[StrictInt, Field(ge=1, le=3600)]


class Model(BaseModel):
    """Unknown keys are refused, nothing changes after validation, keys are camelCase as in Kubernetes."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, defer_build=True)
