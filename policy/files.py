"""Reads the YAML files of this folder, `settings.yaml` and `waivers.yaml`: every problem names file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator

from policy.model import Tier
from services.yaml_source import KeyPath, YamlError, YamlSource, read

M = TypeVar("M", bound=BaseModel)
SETTINGS_FILE = Path(__file__).with_name("settings.yaml")
STRICTEST: Tier = "prod"
REGISTRY_KEY = "slipway:registry"
REGISTRY_VARIABLE = "SLIPWAY_REGISTRY"


class _SettingsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    environments: dict[StrictStr, Tier] = {}
    registries: list[StrictStr] = []


@dataclass(frozen=True)
class PolicySettings:
    """One stack's part of `settings.yaml`."""

    stack: str
    tier: Tier
    registries: tuple[str, ...]


def load_settings(
    stack: str, config: Mapping[str, str], environ: Mapping[str, str], file: Path = SETTINGS_FILE
) -> PolicySettings:
    """The settings of `stack`; `config` are its configuration values, `environ` the process environment.

    Raises PolicyFileError with every problem of the file.
    """
    document = YamlFile.read(file).parse(_SettingsFile)
    fitting = (tier for pattern, tier in document.environments.items() if fnmatchcase(stack, pattern))
    own = config.get(REGISTRY_KEY) or environ.get(REGISTRY_VARIABLE)
    return PolicySettings(stack, next(fitting, STRICTEST), tuple(filter(None, [own, *document.registries])))


WAIVERS_FILE = Path(__file__).with_name("waivers.yaml")
RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9]*/\S+")
LEAST_REASON = 10


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: StrictStr
    resource: StrictStr
    reason: Annotated[StrictStr, Field(min_length=LEAST_REASON)]
    expires: date
    stack: StrictStr | None = None

    @field_validator("resource")
    @classmethod
    def _kind_and_name(cls, value: str) -> str:
        if not RESOURCE.fullmatch(value):
            raise ValueError("allowed is a kind and a name, as in Deployment/user-service")
        return value


class _WaiversFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    waivers: list[_Entry]


@dataclass(frozen=True)
class Waiver:
    """One entry of the file that holds for this stack today; `where` is its file and line."""

    rule: str
    resource: str
    reason: str
    expires: date
    where: str

    def __str__(self) -> str:
        return f"until {self.expires}: {self.reason} ({self.where})"


@dataclass(frozen=True)
class Waivers:
    """The waivers that hold, by rule and resource, and the problems of the file, each with file and line."""

    entries: tuple[Waiver, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, rule: str, resource: str) -> Waiver | None:
        return next((each for each in self.entries if (each.rule, each.resource) == (rule, resource)), None)

    def unused(self, used: Iterable[Waiver]) -> list[str]:
        """A problem for each waiver that waived nothing."""
        needed = set(used)
        return [
            f"{each.where}: {each.resource} does not break {each.rule} here; "
            "remove the waiver, or name the stack that needs it (`stack: prod`)"
            for each in self.entries
            if each not in needed
        ]


def load_waivers(stack: str, rules: Iterable[str], today: date | None = None, file: Path = WAIVERS_FILE) -> Waivers:
    """The waivers of `stack`; `rules` are all rule ids. Never raises: a broken file waives nothing.

    The stacks are known from the `Pulumi.<stack>.yaml` files of this project.
    """
    try:
        source = YamlFile.read(file)
        document = source.parse(_WaiversFile)
    except PolicyFileError as error:
        return Waivers(problems=error.problems)
    today = today or datetime.now(UTC).date()
    ids = list(rules)
    files = WAIVERS_FILE.parent.parent.glob("Pulumi.*.yaml")
    stacks = sorted({stack, *(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)})
    entries: list[Waiver] = []
    problems: list[str] = []
    for index, entry in enumerate(document.waivers):
        where = source.where(("waivers", index, "rule"))
        if entry.rule not in ids:
            hint = _did_you_mean(entry.rule, ids)
            problems.append(f"{where}: no rule has the id `{entry.rule}`; {hint}All ids: docs/policy.md")
        elif entry.stack and entry.stack not in stacks:
            hint = _did_you_mean(entry.stack, stacks)
            problems.append(f"{where}: there is no stack `{entry.stack}`; {hint}The stacks: {', '.join(stacks)}")
        elif entry.expires < today:
            expired = source.where(("waivers", index, "expires"))
            problems.append(f"{expired}: the waiver of {entry.rule} for {entry.resource} expired on {entry.expires}")
        elif entry.stack in (None, stack):
            waiver = Waiver(entry.rule, entry.resource, entry.reason, entry.expires, where)
            if any((each.rule, each.resource) == (entry.rule, entry.resource) for each in entries):
                problems.append(f"{where}: {entry.rule} is waived twice for {entry.resource}; keep one")
            else:
                entries.append(waiver)
    return Waivers(tuple(entries), tuple(problems))


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean `{near[0]}`? " if near else ""


class PolicyFileError(ValueError):
    """All problems of a file of this folder, one per line, each with file and line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class YamlFile:
    """A parsed file of this folder."""

    source: YamlSource

    @classmethod
    def read(cls, file: Path) -> YamlFile:
        """Raises PolicyFileError for a file that is missing or no YAML mapping, and for a key given twice."""
        shown = Path(file.parent.name, file.name)  # as people know it: `policy/waivers.yaml`
        try:
            return cls(read(file, shown_as=shown, example=""))
        except YamlError as error:
            raise PolicyFileError([str(error)]) from error
        except OSError as error:
            raise PolicyFileError([f"{shown}:1: cannot be read: {error}"]) from error

    def where(self, path: KeyPath) -> str:
        """File and line of the value at `path`, or of the nearest value around it."""
        return f"{self.source.file}:{self.source.line(path)}"

    def parse(self, model: type[M]) -> M:
        """The data as `model`; raises PolicyFileError with every problem."""
        try:
            return model.model_validate(self.source.data)
        except ValidationError as error:
            problems: list[str] = []
            for detail in error.errors():
                path: KeyPath = detail["loc"]
                key = next((part for part in reversed(path) if isinstance(part, str)), "the file")
                if detail["type"] == "missing":
                    what = f"`{key}` is missing"
                elif detail["type"] == "extra_forbidden":
                    what = f"unknown key `{key}`"
                else:
                    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
                    what = f"`{key}` is {detail['input']!r}; {message}"
                problems.append(f"{self.where(path)}: {what}")
            raise PolicyFileError(problems) from error
