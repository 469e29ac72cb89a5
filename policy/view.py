"""Reads a resource's inputs, each with its path, and never takes an unknown value for a known one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from policy.declaration import UNKNOWN, Problem, Resource
from slipway.values import walk

T = TypeVar("T")


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
            here = View(_below(here.value, key), path, self.resource)
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
            raise Undecided("".join((self.path, *map(_path_part, unknown))).removeprefix("."))
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


def _below(value: Any, key: str) -> Any:
    if value is UNKNOWN:
        return UNKNOWN
    return value.get(key) if isinstance(value, Mapping) else None


def _path_part(key: str | int) -> str:
    return f"[{key}]" if isinstance(key, int) else f".{key}"


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
