"""The `slipway:` keys of `Pulumi.<stack>.yaml`, parsed once into one frozen object."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pulumi
import pulumi_docker_build as docker_build
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from services.spec import Name
from services.yaml_source import YamlError, YamlSource, read
from slipway.engine.messages import CONFIGURATION_ERROR
from slipway.rollback.plan import VARIABLE, Request

NO_REGISTRY = (
    "no image registry: set one with `pulumi config set slipway:registry HOST/PATH`, "
    'or take the lab\'s with `eval "$(slipway env)"`'
)


def configuration_error(problems: Iterable[str]) -> pulumi.RunError:
    """One RunError for all problems; the command line knows it by its first words and exits with 2."""
    listed = list(problems)
    return pulumi.RunError(
        CONFIGURATION_ERROR + (" " + listed[0] if len(listed) == 1 else "\n  " + "\n  ".join(listed))
    )


def _namespace(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


NamespaceName = Annotated[StrictStr, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names"""
ObjectPattern = Annotated[StrictStr, Field(pattern=r"^[A-Z][A-Za-z]*/[^/\s]+$")]
"""`Kind/name`, in which `*` stands for any characters of the name: `ConfigMap/api-*`."""


class NamespaceSettings(BaseModel):
    """The namespace that everything is deployed to. With `managed: false` somebody else makes and deletes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    managed: StrictBool = True


class Settings(BaseModel):
    """What a stack says about its environment; units are in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    namespace: Annotated[NamespaceSettings, BeforeValidator(_namespace)]
    registry: StrictStr
    base_image: StrictStr = "python:3.12-slim"
    context: StrictStr | None = None
    platforms: list[docker_build.Platform] = []
    checks_timeout_seconds: Annotated[StrictInt, Field(ge=1, le=600)] = 30
    metrics_from: NamespaceName | None = None
    services: dict[str, dict[str, Any]] = {}
    defaults: dict[str, Any] = {}
    adopt: list[ObjectPattern] = []
    rollback_to: Annotated[StrictInt, Field(ge=1)] | None = None

    def rollback(self) -> Request | None:
        """What to roll back to: what `slipway rollback` asks for, else what the stack's configuration says."""
        if asked := os.environ.get(VARIABLE):
            return Request.from_text(asked)
        unmanaged = "" if self.namespace.managed else self.namespace.name
        return Request(self.rollback_to, unmanaged_namespace=unmanaged) if self.rollback_to else None

    @classmethod
    def from_config(cls, stack: str) -> tuple[Settings, YamlSource | None]:
        """Settings of the stack and, where there is one, its file; raises RunError that lists every problem."""
        source = _stack_file(Path(f"Pulumi.{stack}.yaml"))
        unknown = _unknown_keys(source)
        if unknown:
            raise configuration_error(unknown)
        values = {"namespace": f"slipway-{stack}"} | _from_environment() | _from_config()
        if "registry" not in values:
            raise configuration_error([NO_REGISTRY])
        try:
            return cls.model_validate(values), source
        except ValidationError as error:
            raise configuration_error(_explain(error, source)) from error


def keys() -> list[str]:
    """The keys a stack's configuration may have, without `slipway:`."""
    return sorted(field.alias or name for name, field in Settings.model_fields.items())


def _from_environment() -> dict[str, Any]:
    """What a lab or a build server says; the stack's own configuration goes before it."""
    given = {"registry": os.environ.get("SLIPWAY_REGISTRY"), "baseImage": os.environ.get("SLIPWAY_BASE_IMAGE")}
    return {key: value for key, value in given.items() if value}


def _from_config() -> dict[str, Any]:
    config = pulumi.Config()
    values: dict[str, Any] = {}
    for key in keys():
        text = config.get(key)
        if text is None:
            continue
        is_text = key in {"registry", "baseImage", "context", "metricsFrom"} or (
            key == "namespace" and not text.startswith("{")
        )
        values[key] = text if is_text else _parsed(config, key, text)
    return values


def _parsed(config: pulumi.Config, key: str, text: str) -> Any:
    try:
        return config.get_object(key)
    except pulumi.ConfigTypeError:
        return text


def _stack_file(file: Path) -> YamlSource | None:
    """Only for lines in messages: the values come from Pulumi, which may have read them elsewhere."""
    try:
        return read(file) if file.exists() else None
    except YamlError:
        return None


def _unknown_keys(source: YamlSource | None) -> list[str]:
    config = source.data.get("config") if source else None
    if source is None or not isinstance(config, dict):
        return []
    problems = []
    for full in config:
        key = str(full).removeprefix("slipway:")
        if str(full).startswith("slipway:") and key not in keys():
            near = difflib.get_close_matches(key, keys(), n=1)
            hint = f"did you mean `slipway:{near[0]}`? " if near else ""
            where = f"{source.file}:{source.line(('config', full))}"
            problems.append(f"{where}: unknown key `{full}`; {hint}Allowed: {', '.join(keys())}")
    return problems


def _explain(error: ValidationError, source: YamlSource | None) -> list[str]:
    problems = []
    for detail in error.errors():
        first, *rest = detail["loc"]
        full = f"slipway:{first}"
        path = ("config", full, *rest)
        where = f"{source.file}:{source.line(path)}: " if source and source.has(("config", full)) else ""
        key = ".".join(map(str, (full, *rest)))
        message = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        problems.append(f"{where}`{key}` is {detail['input']!r}; {message}")
    return problems
