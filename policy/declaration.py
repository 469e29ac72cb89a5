"""Resources as a program declares them, how Pulumi's engine writes them, and how rules read their inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from services.quantities import quantity_value
from slipway.values import OutputValue, Path, ResourceReference, Secret, Special, Unknown, mapped, walk

T = TypeVar("T")
CONTENT_HASH = re.compile(r"-[0-9a-f]{8}$")
PERCENT = re.compile(r"(\d+)%")
# https://pkg.go.dev/time#ParseDuration
DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Unknown:
    """The one instance of this class stands for a value that is not known before the update."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class Options:
    """Resource options that rules check. Timeouts are in seconds, `None` if the program sets none. `dependencies` are
    URNs, `None` if they are not known. `default_namespace` is that of the resource's provider.
    """

    protect: bool = False
    create_timeout_seconds: float | None = None
    update_timeout_seconds: float | None = None
    dependencies: frozenset[str] | None = None
    default_namespace: Any = None


@dataclass(frozen=True)
class Resource:
    """A resource as it is declared: Pulumi's type token and name, and the inputs as plain data.

    Inputs hold `UNKNOWN` for values that only the update decides, and a secret's value if it is known.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    urn: str = ""
    options: Options = Options()

    @property
    def kind(self) -> str:
        """The last word of the type token, such as `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def ref(self) -> str:
        """Its name for people, messages and waivers: `Deployment/user-service`. It leaves out the hash of a name by
        content, because that changes with the content.
        """
        named_by_content = self.inputs.get("immutable") is True
        return f"{self.kind}/{CONTENT_HASH.sub('', self.name) if named_by_content else self.name}"


@dataclass(frozen=True)
class Problem:
    """Where and how a resource breaks a rule: what was found, what is allowed. Never the value of a secret."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Undecided(Exception):  # noqa: N818 (no error: the update decides)
    """A rule asked for a value that is not known before the update."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True)
class View:
    """A value within a resource. A missing value is `None`, and everything below it is missing too.

    Walking never fails; reading an unknown value raises Undecided.
    """

    value: Any
    path: str
    resource: Resource

    @classmethod
    def of(cls, resource: Resource) -> View:
        """The whole resource."""
        return cls(resource.inputs, "", resource)

    def at(self, *keys: str) -> View:
        """The value below, one key after the other."""
        here = self
        for key in keys:
            path = f"{here.path}.{key}" if here.path else key
            value = here.value
            if value is not UNKNOWN:
                value = value.get(key) if isinstance(value, Mapping) else None
            here = View(value, path, self.resource)
        return here

    @property
    def unknown(self) -> bool:
        return self.value is UNKNOWN

    @property
    def present(self) -> bool:
        return self.read() is not None

    def read(self) -> Any:
        """The value itself, `None` if it is missing; parts of it may still be unknown."""
        if self.value is UNKNOWN:
            raise Undecided(self.path)
        return self.value

    def known(self) -> Any:
        """The value; raises Undecided if a part is unknown."""
        unknown = next((path for path, each in walk(self.value) if each is UNKNOWN), None)
        if unknown is not None:
            below = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in unknown)
            raise Undecided(f"{self.path}{below}".removeprefix("."))
        return self.value

    def text(self) -> str | None:
        """The value if it is text, else `None`."""
        value = self.read()
        return value if isinstance(value, str) else None

    def number(self) -> int | float | None:
        """The value if it is a number, else `None`."""
        value = self.read()
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def items(self) -> list[View]:
        """The elements of a list; none if it is missing."""
        value = self.read()
        if not isinstance(value, Sequence) or isinstance(value, str):
            return []
        return [View(each, f"{self.path}[{index}]", self.resource) for index, each in enumerate(value)]

    def entries(self) -> dict[str, View]:
        """The values of a mapping by key; none if it is missing."""
        value = self.read()
        return {str(key): self.at(str(key)) for key in value} if isinstance(value, Mapping) else {}

    def subjects(self) -> list[View]:
        """The elements, or if the list is not known, the unknown value itself, so that rules find it."""
        return [self] if self.unknown else self.items()

    def shown(self) -> str:
        """The value as messages show it."""
        value = self.read()
        if value is None:
            return "missing"
        return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"

    def problem(self, message: str) -> Problem:
        return Problem(self.path, message)


def known_matches(candidates: Iterable[T], fits: Callable[[T], bool]) -> list[T]:
    """The candidates that fit. Raises Undecided if none is known to fit and one may."""
    found: list[T] = []
    undecided: Undecided | None = None
    for candidate in candidates:
        try:
            if fits(candidate):
                found.append(candidate)
        except Undecided as reason:
            undecided = undecided or reason
    if undecided is not None and not found:
        raise undecided
    return found


def any_known(candidates: Iterable[T], fits: Callable[[T], bool]) -> bool:
    """Whether one of them fits. Raises Undecided if none is known to fit and one may."""
    return bool(known_matches(candidates, fits))


def problems_of(parts: Iterable[T], check: Callable[[T], Iterable[Problem]]) -> Iterator[Problem]:
    """The problems of each part. Raises Undecided at the end: a part that is not known must not hide the next one."""
    undecided: Undecided | None = None
    for part in parts:
        try:
            yield from check(part)
        except Undecided as reason:
            undecided = undecided or reason
    if undecided is not None:
        raise undecided


def all_known(conditions: Iterable[Callable[[], bool]]) -> bool:
    """Whether all hold. Raises Undecided if none is known to fail and one may."""
    undecided: Undecided | None = None
    for holds in conditions:
        try:
            if not holds():
                return False
        except Undecided as reason:
            undecided = undecided or reason
    if undecided is not None:
        raise undecided
    return True


def amount(quantity: View) -> float | None:
    """The quantity as a plain number; `None` if it is missing or no quantity."""
    value = quantity.read()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return quantity_value(value) if isinstance(value, str) else None
    except ValueError:
        return None


def share(value: View, of: float, *, round_up: bool) -> float | None:
    """A number, or a percentage `of` something as Kubernetes rounds it; `None` if it is missing or neither."""
    number = value.number()
    if number is not None:
        return number
    text = value.text() or ""
    if match := PERCENT.fullmatch(text):
        exact = int(match[1]) * of / 100
        return math.ceil(exact) if round_up else math.floor(exact)
    return float(text) if text.isdecimal() else None


def plain(value: Any) -> Any:
    """The value without Pulumi's marks: secrets opened, unknown (or still encrypted) values as UNKNOWN."""
    return mapped(value, _plain)


def _plain(value: Any, _path: Path) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, Secret | OutputValue):
        return plain(value.fields["value"]) if "value" in value.fields else UNKNOWN
    if isinstance(value, ResourceReference):
        return plain(value.fields["id"]) if value.fields.get("id") else UNKNOWN
    return plain(value.fields) if isinstance(value, Special) else value


def seconds(timeout: str | float | None) -> float | None:
    """A timeout such as `2m30s`, or seconds already; `None` if none is set."""
    if isinstance(timeout, str):
        return sum(float(number) * UNIT_SECONDS[unit] for number, unit in DURATION_PART.findall(timeout)) or None
    return timeout or None


def from_checkpoint(recorded: Mapping[str, Any]) -> Resource:
    """A resource as `pulumi stack export` and the backend's history write it; encrypted secrets are unknown."""
    timeouts = recorded.get("customTimeouts") or {}
    urn = str(recorded["urn"])
    return Resource(
        str(recorded["type"]),
        urn.split("::", 3)[3],
        plain(recorded.get("inputs") or {}),
        urn,
        Options(
            protect=bool(recorded.get("protect")),
            create_timeout_seconds=seconds(timeouts.get("create")),
            update_timeout_seconds=seconds(timeouts.get("update")),
            dependencies=frozenset(recorded.get("dependencies") or ()),
        ),
    )
