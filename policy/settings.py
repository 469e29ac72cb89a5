"""The policy settings of a stack, read from `settings.yaml`: its tier, and the registries of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, StrictStr

from policy.model import Tier
from policy.yaml_lines import YamlFile

FILE = Path(__file__).with_name("settings.yaml")
STRICTEST: Tier = "prod"
REGISTRY_KEY = "slipway:registry"
REGISTRY_VARIABLE = "SLIPWAY_REGISTRY"


class _SettingsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    environments: dict[StrictStr, Tier] = {}
    registries: list[StrictStr] = []


@dataclass(frozen=True)
class PolicySettings:
    """One stack's part of the file."""

    stack: str
    tier: Tier
    registries: tuple[str, ...]


def load(stack: str, config: Mapping[str, str], environ: Mapping[str, str], file: Path = FILE) -> PolicySettings:
    """The settings of `stack`; `config` are its configuration values, `environ` the process environment.

    Raises PolicyFileError with every problem of the file.
    """
    document = YamlFile.read(file).parse(_SettingsFile)
    fitting = (tier for pattern, tier in document.environments.items() if fnmatchcase(stack, pattern))
    own = config.get(REGISTRY_KEY) or environ.get(REGISTRY_VARIABLE)
    return PolicySettings(stack, next(fitting, STRICTEST), tuple(filter(None, [own, *document.registries])))
