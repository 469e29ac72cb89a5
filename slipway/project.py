"""The current Pulumi project: its folder, its name, and the environments that it declares."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.files import readable
from services.yaml_source import YamlError, misread_settings, read
from slipway.errors import ConfigurationError

# Values of `slipway:build`: Pulumi turns it into a text when it saves the file, as when a stack is created.
NOT_BUILT = (False, "false")


@dataclass(frozen=True)
class Project:
    """A folder with a `Pulumi.yaml`; each `Pulumi.<env>.yaml` in it is an environment, which is one Pulumi stack."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "Pulumi.yaml"

    @property
    def name(self) -> str:
        """The project's name as the engine reads it; raises ConfigurationError if there is none."""
        content = _read_yaml(self.file)
        name = content.get("name") if isinstance(content, dict) else None
        if not isinstance(name, str):
            raise ConfigurationError(f"{self.file} has no `name`.", next_step="Add `name: slipway` to it.")
        return name

    def environments(self) -> list[str]:
        names = (file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in self.folder.glob("Pulumi.*.yaml"))
        return sorted(name for name in names if name)

    def environment_file(self, environment: str) -> Path:
        """The settings file of `environment`; raises ConfigurationError if it does not exist or is not a mapping."""
        self.require_environment(environment)
        file = self._settings(environment)
        content = _read_yaml(file)
        if not isinstance(content, dict | None):
            raise ConfigurationError(
                f"{file} cannot be read.",
                why=f"It holds a {type(content).__name__}; allowed: a mapping with `config`, or nothing.",
                next_step="Fix the file.",
            )
        try:
            misread = misread_settings(read(file, shown_as=Path(file.name))) if content else ()
        except YamlError as error:
            raise ConfigurationError(f"{file} cannot be read.", why=str(error), next_step="Edit the file.") from error
        if misread:
            raise ConfigurationError(
                f"Pulumi reads {file.name} differently from how it is written.",
                why="\n".join(misread),
                next_step="Edit it.",
            )
        return file

    def config(self, environment: str) -> dict[str, str]:
        """The plain values under `config` in the settings of `environment`, as texts; no secrets, no objects."""
        items = self.settings(environment).items()
        return {str(key): str(value) for key, value in items if isinstance(value, str | int)}

    def settings(self, environment: str) -> Mapping[str, Any]:
        """Everything under `config` in the settings of `environment`, as YAML reads it; secrets are encrypted."""
        config = (_read_yaml(self.environment_file(environment)) or {}).get("config")
        return config if isinstance(config, dict) else {}

    def stack_file(self, environment: str) -> Mapping[str, Any]:
        """All of `Pulumi.<environment>.yaml`: `config`, and which key encrypts the secrets."""
        content = _read_yaml(self._settings(environment))
        return content if isinstance(content, dict) else {}

    def unmanaged_namespace(self, environment: str) -> str:
        """The namespace that `environment` uses but does not manage; empty if the stack manages its own."""
        found = self.settings(environment).get("slipway:namespace")
        return str(found.get("name", "")) if isinstance(found, dict) and found.get("managed") is False else ""

    def promoted_images(self, environment: str) -> dict[str, Any]:
        """`slipway:images` in the settings of `environment`, by service; empty if it builds its own images."""
        config = self.settings(environment)
        if config.get("slipway:build") not in NOT_BUILT:
            return {}
        found = config.get("slipway:images")
        return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}

    def require_environment(self, environment: str) -> None:
        """Raise ConfigurationError, which suggests the nearest name, if the environment does not exist."""
        known = self.environments()
        if environment in known:
            return
        why = f"{self.folder} has no Pulumi.<env>.yaml."
        if known:
            nearest = difflib.get_close_matches(environment, known, n=1)
            hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
            why = f"Environments here: {', '.join(known)}.{hint}"
        raise ConfigurationError(
            f"There is no environment `{environment}`: {self._settings(environment)} does not exist.",
            why=why,
            next_step=f"Use -s with one of them, or write Pulumi.{environment}.yaml; "
            f"`slipway up -s {environment} --like ENV` makes a temporary one.",
        )

    def _settings(self, environment: str) -> Path:
        return self.folder / f"Pulumi.{environment}.yaml"


def _read_yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file} cannot be read.", why=str(error), next_step="Fix the file.") from error


def find(start: Path) -> Project | None:
    """The nearest project at or above `start`, found as the engine does; `None` if there is none."""
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file():
            return Project(folder)
    return None


def require(start: Path) -> Project:
    """The project at or above `start`; raises ConfigurationError if there is none."""
    project = find(start)
    if project is None:
        raise ConfigurationError(
            f"There is no Pulumi.yaml in {start} or any folder above it.",
            next_step="Run this in a clone of the project.",
        )
    try:
        os.fsencode(project.folder).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"The project is in {readable(project.folder)}, whose name is not UTF-8, as Pulumi requires.",
            next_step="Move the clone, or rename the folder.",
        ) from error
    return project
