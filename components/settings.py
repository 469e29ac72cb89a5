"""The settings of an environment: the `slipway:` keys of `Pulumi.<stack>.yaml`, parsed once into one frozen object,
and the values of the services' secrets.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi
import pulumi_docker_build as docker_build
from pulumi.runtime.config import CONFIG, is_config_secret
from pydantic import (
    AfterValidator,
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

from services.catalog import Service
from services.fields import LabelName, SubdomainName
from services.quantities import number_as_text, parse_quantity
from services.spec import OBJECT_MAX_BYTES, variable_problem
from services.yaml_source import SERVICES_KEY, YamlError, YamlSource, misread_settings, read
from slipway.backend.promotion import Promotion
from slipway.engine.messages import CONFIGURATION_ERROR
from slipway.environment_variables import secret_variable
from slipway.paths import STACK_PLACEHOLDER
from slipway.rollback.plan import ROLLBACK_VARIABLE, RollbackRequest

NO_REGISTRY = (
    "no image registry: set one with `pulumi config set slipway:registry HOST/PATH`, "
    'or take the lab\'s with `eval "$(slipway env)"`'
)

# Whatever the project is called in Pulumi.yaml: keys without a namespace belong to the project.
KEYS_NAMESPACE = "slipway"
# https://pkg.go.dev/github.com/distribution/reference: host and path of a repository, tag and digest of an image.
_HOST = r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*|\[[0-9a-f:]+\])(:\d{1,5})?"
_PATH = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
REPOSITORY_PATTERN = re.compile(rf"{_HOST}(/{_PATH})?|{_PATH}", re.ASCII)
IMAGE_PATTERN = re.compile(rf"({_HOST}/)?{_PATH}(:\w[-.\w]{{0,127}})?(@sha256:[0-9a-f]{{64}})?", re.ASCII)
# A repository may have 255; the rest is for the names of services.
REPOSITORY_MAX_LENGTH = 200
# Environment variables for settings that a stack's configuration does not have.
VARIABLES = {"registry": "SLIPWAY_REGISTRY", "baseImage": "SLIPWAY_BASE_IMAGE"}
# A build server sets these for a cloud, a registry or itself: they are no secrets of a service called `aws`.
OF_TOOLS = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_KEY"),
    *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_CREDENTIALS"),
    *("GOOGLE_OAUTH_ACCESS_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD"),
    *("DOCKER_HOST", "DOCKER_CONFIG", "REGISTRY_PASSWORD", "KUBECONFIG_CONTENT"),
}


def configuration_error(problems: Iterable[str]) -> pulumi.RunError:
    """One RunError for all problems; the command line recognizes its first words and exits with 2."""
    listed = list(problems)
    return pulumi.RunError(
        CONFIGURATION_ERROR + (" " + listed[0] if len(listed) == 1 else "\n  " + "\n  ".join(listed))
    )


def _namespace(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


ObjectPattern = Annotated[StrictStr, Field(pattern=r"^[A-Z][A-Za-z]*/[^/\s]+$")]
"""`Kind/name`, in which `*` stands for any characters of the name: `ConfigMap/api-*`."""


def _repository(text: str) -> str:
    if REPOSITORY_PATTERN.fullmatch(text) is None or len(text) > REPOSITORY_MAX_LENGTH:
        raise ValueError(
            "allowed is HOST[:PORT][/PATH] as in registry.example/team: lower case, no scheme such as http://, no '/' "
            f"at the end, no tag, no blanks, at most {REPOSITORY_MAX_LENGTH} characters"
        )
    return text


def _image(text: str) -> str:
    if IMAGE_PATTERN.fullmatch(text) is None:
        raise ValueError(
            "allowed is an image as in registry.example/team/python:3.12, or one pinned by `@sha256:` and 64 hex "
            "digits: lower case up to the tag, no scheme such as http://, no blanks"
        )
    return text


def default_namespace(stack: str) -> str:
    """`slipway-<stack>` in lower case, with '-' in place of characters that a namespace cannot have."""
    return "slipway-" + re.sub(r"[^a-z0-9]+", "-", stack.lower()).strip("-")


class NamespaceSettings(BaseModel):
    """The namespace that everything is deployed to. With `managed: false` this stack neither creates nor deletes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: LabelName
    managed: StrictBool = True


def _quantity(text: str) -> str:
    if parse_quantity(text) < 0:
        raise ValueError(f"{text!r} is less than zero")
    return text


Quantities = dict[StrictStr, Annotated[StrictStr, BeforeValidator(number_as_text), AfterValidator(_quantity)]]
"""By resource, under Kubernetes' own names: `{cpu: 500m, memory: 1Gi}`."""


class ResourceQuotaSettings(BaseModel):
    """The limits for all pods and objects of the namespace together: the `hard` of a ResourceQuota.

    https://kubernetes.io/docs/concepts/policy/resource-quotas/
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hard: Annotated[Quantities, Field(min_length=1)]


class LimitRangeItem(BaseModel):
    """The defaults and the allowed range of each container, pod or claim.

    https://kubernetes.io/docs/concepts/policy/limit-range/
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    type: Literal["Container", "Pod", "PersistentVolumeClaim"]
    default: Quantities = {}
    default_request: Quantities = {}
    max: Quantities = {}
    min: Quantities = {}
    max_limit_request_ratio: Quantities = {}


class LimitRangeSettings(BaseModel):
    """The `limits` of a LimitRange."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: Annotated[list[LimitRangeItem], Field(min_length=1)]


class StackSettings(BaseModel):
    """A stack's settings for its environment; units are in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    namespace: Annotated[NamespaceSettings, BeforeValidator(_namespace)]
    registry: Annotated[StrictStr, AfterValidator(_repository)]
    base_image: Annotated[StrictStr, AfterValidator(_image)] = "python:3.12-slim"
    context: StrictStr | None = None
    platforms: list[docker_build.Platform] = []
    build: StrictBool = True
    build_cache: Literal["registry"] | None = None
    images: dict[str, Promotion] = {}
    checks_timeout_seconds: Annotated[StrictInt, Field(ge=1, le=600)] = 30
    metrics_from: LabelName | None = None
    services: dict[str, dict[str, Any]] = {}
    defaults: dict[str, Any] = {}
    image_pull_secrets: list[SubdomainName] = []
    adopt: list[ObjectPattern] = []
    resource_quota: ResourceQuotaSettings | None = None
    limit_range: LimitRangeSettings | None = None
    rollback_to: Annotated[StrictInt, Field(ge=1)] | None = None

    def rollback(self) -> RollbackRequest | None:
        """The rollback that `slipway rollback` asks for, else that of the stack's configuration; `None` if neither."""
        if asked := os.environ.get(ROLLBACK_VARIABLE):
            return RollbackRequest.from_text(asked)
        unmanaged = "" if self.namespace.managed else self.namespace.name
        return RollbackRequest(self.rollback_to, unmanaged_namespace=unmanaged) if self.rollback_to else None

    def repository(self, service: str) -> str:
        """The repository of the service's images, without a tag or digest."""
        return f"{self.registry}/{service}"

    @classmethod
    def from_config(cls, stack: str) -> tuple[StackSettings, YamlSource | None]:
        """The stack's settings, and its file or `None`; raises RunError, which lists every problem."""
        # The file is read for lines in messages only: the values come from Pulumi, which may have read them elsewhere.
        file, source = Path(f"Pulumi.{stack}.yaml"), None
        with suppress(YamlError):
            source = read(file) if file.exists() else None
        problems = [*_unknown_keys(source), *(misread_settings(source) if source else ()), *_secrets(source)]
        if problems:
            raise configuration_error(problems)
        values: dict[str, Any] = {"namespace": default_namespace(stack)}
        # Of a lab or a build server; the stack's own configuration takes precedence.
        values |= {key: value for key, variable in VARIABLES.items() if (value := os.environ.get(variable))}
        config = pulumi.Config(KEYS_NAMESPACE)
        for key in keys():
            text = config.get(key)
            if text is None:
                continue
            values[key] = text
            is_text = key in {"registry", "baseImage", "context", "metricsFrom"}
            if not is_text and (key != "namespace" or text.startswith("{")):
                with suppress(pulumi.ConfigTypeError):
                    values[key] = config.get_object(key)
        if "registry" not in values:
            raise configuration_error([NO_REGISTRY])
        try:
            return cls.model_validate(values), source
        except ValidationError as error:
            raise configuration_error(_explain(error, source)) from error


def keys() -> list[str]:
    """The keys a stack's configuration may have, without `slipway:`."""
    return sorted(field.alias or name for name, field in StackSettings.model_fields.items())


def _unknown_keys(source: YamlSource | None) -> list[str]:
    """Problems of the keys in the file, and of those that Pulumi has from elsewhere, such as Pulumi.yaml."""
    config = source.data.get("config") if source else None
    problems = []
    for full in dict.fromkeys([*(config if isinstance(config, dict) else ()), *CONFIG.get()]):
        named, _, key = str(full).rpartition(":")
        namespace = named or pulumi.get_project()  # as Pulumi understands it
        has_line = source is not None and source.has(("config", str(full)))
        where = f"{source.file}:{source.line(('config', str(full)))}: " if source and has_line else ""
        if namespace == KEYS_NAMESPACE and key not in keys():
            near = difflib.get_close_matches(key, keys(), n=1)
            hint = f"did you mean `slipway:{near[0]}`? " if near else ""
            problems.append(f"{where}unknown key `{full}`; {hint}Allowed: {', '.join(keys())}")
        elif namespace == pulumi.get_project() != KEYS_NAMESPACE and key in keys():
            problems.append(f"{where}`{full}` is not read, as it lacks the prefix `slipway:`; write `slipway:{key}`")
    return problems


def _secrets(source: YamlSource | None) -> Iterator[str]:
    """A problem for each key that holds a secret: the values are in plain text in ConfigMaps and in the state.

    Checked before the values are read, so that no message shows a secret.
    """
    for key in keys():
        full = f"{KEYS_NAMESPACE}:{key}"
        if not is_config_secret(full):
            continue
        data = source.data.get("config") if source else None
        inside = list(_paths_of_secrets(data.get(full), (full,))) if isinstance(data, dict) else []
        for path in inside or [(full,)]:
            has_line = source is not None and source.has(("config", *path))
            where = f"{source.file}:{source.line(('config', *path))}: " if source and has_line else ""
            service, variable = "SERVICE", "NAME"
            if path[0] == SERVICES_KEY and path[2:3] == ("env",) and len(path) == 4:
                service, variable = path[1], path[3]
            next_step = (
                f"list {variable} under `secrets` of the service instead, and set it with "
                f"`pulumi config set --secret {service}:{variable}`"
                if key in {"services", "defaults"}
                else "set it without --secret"
            )
            yield (
                f"{where}`{'.'.join(path)}` is a secret, and the values of `slipway:` keys are readable in the "
                f"cluster and in the state; {next_step}"
            )


def _paths_of_secrets(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and set(value) == {"secure"}:
        yield path
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths_of_secrets(each, (*path, str(key)))


def _explain(error: ValidationError, source: YamlSource | None) -> list[str]:
    problems = []
    for detail in error.errors():
        first, *rest = detail["loc"]
        full = f"slipway:{first}"
        path = ("config", full, *rest)
        where = f"{source.file}:{source.line(path)}: " if source and source.has(("config", full)) else ""
        key = ".".join(map(str, (full, *rest)))
        if first in VARIABLES and pulumi.Config(KEYS_NAMESPACE).get(str(first)) is None:
            key = VARIABLES[str(first)]
        message = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        problems.append(f"{where}`{key}` is {detail['input']!r}; {message}")
    return problems


def read_secrets(services: Iterable[Service], *, builds: bool = True) -> dict[str, dict[str, str]]:
    """The values of all secrets, by service name and secret name: those of `secrets`, those in `files`, and with
    `builds` those of `build.secrets`.

    The stack's configuration takes precedence over the file that `SERVICE_NAME_FILE` names, and that file over the
    variable `SERVICE_NAME`. In the file's path `{stack}` stands for the stack's name. Raises RunError, which lists
    every missing or unusable secret and how to set it.
    """
    problems: list[str] = []
    values: dict[str, dict[str, str]] = {}
    readers: dict[str, tuple[str, str]] = {}
    for service in services:
        values[service.name] = {}
        of_build = service.spec.build.secrets if builds else []
        for key in dict.fromkeys([*service.spec.secret_names, *of_build]):
            try:
                value, variable = _read(service.name, key, in_variable=key in service.spec.secrets)
            except ValueError as error:
                problems.append(str(error))
                continue
            first = readers.setdefault(variable, (service.name, key)) if variable else (service.name, key)
            if first != (service.name, key):
                problems.append(
                    f"{variable} is read for two secrets, {first[1]} of {first[0]} and {key} of {service.name}; set "
                    f"one of them with `pulumi config set --secret {service.name}:{key}`"
                )
            values[service.name][key] = value
        of_pods = [values[service.name].get(key, "") for key in service.spec.secrets]
        if (size := sum(len(value.encode()) for value in of_pods)) > OBJECT_MAX_BYTES:
            problems.append(
                f"the secrets of {service.name} have {size:,} bytes in all, and a Secret holds {OBJECT_MAX_BYTES:,}"
            )
    if problems:
        raise configuration_error(problems)
    return values


def _read(service: str, key: str, *, in_variable: bool) -> tuple[str, str]:
    """A secret's value and the environment variable it comes from; empty if it comes from the stack's configuration.

    A line break at its end is removed, as Pulumi does when it reads a value from standard input: the same value makes
    the same Secret. Raises ValueError, which never contains the value.
    """
    variable, file_variable = secret_variable(service, key), f"{secret_variable(service, key)}_FILE"
    configured, file = pulumi.Config(service).get(key), os.environ.get(file_variable)
    if configured is not None:
        value, used, named = configured, "", f"{service}:{key} in the configuration of stack {pulumi.get_stack()}"
    elif file:
        file = file.replace(STACK_PLACEHOLDER, pulumi.get_stack())
        named = f"the file {file}, which {file_variable} names,"
        try:
            value, used = Path(file).read_bytes().decode(), file_variable
        except OSError as error:
            raise ValueError(f"{named} cannot be read: {error.strerror}; {_how_to_set(service, key)}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{named} is not UTF-8 text; a secret must be text") from error
    elif variable in os.environ and variable not in OF_TOOLS:
        value, used, named = os.environ[variable], variable, f"the environment variable {variable}"
    else:
        raise ValueError(
            f"{service} needs the secret {key}, which is not set in stack {pulumi.get_stack()}; "
            f"{_how_to_set(service, key)}"
        )
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise ValueError(f"{named} is empty, and {service} needs the secret {key}; {_how_to_set(service, key)}")
    if in_variable and (problem := variable_problem(key, value)):
        raise ValueError(f"{named} {problem}")
    return value, used


def _how_to_set(service: str, key: str) -> str:
    variable = secret_variable(service, key)
    if variable in OF_TOOLS:
        return f"set it with `pulumi config set --secret {service}:{key}`: other programs use the variable {variable}"
    return (
        f"set it with `pulumi config set --secret {service}:{key}`, or in the environment variable {variable} "
        f"(or a file's path in {variable}_FILE)"
    )
