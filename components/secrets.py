"""Values of the services' secrets: from the stack's configuration, from a file or from an environment variable."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pulumi

from components.settings import configuration_error
from services.catalog import Service
from services.spec import OBJECT_MAX_BYTES, variable_problem
from slipway.environment_variables import secret_variable
from slipway.paths import STACK_PLACEHOLDER

# A build server sets these for a cloud, a registry or itself: they are no secrets of a service called `aws`.
OF_TOOLS = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_KEY"),
    *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_CREDENTIALS"),
    *("GOOGLE_OAUTH_ACCESS_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD"),
    *("DOCKER_HOST", "DOCKER_CONFIG", "REGISTRY_PASSWORD", "KUBECONFIG_CONTENT"),
}


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
