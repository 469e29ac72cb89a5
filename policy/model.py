"""The plain things that rules speak about: resources as a program declares them, rules, and what a rule found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from policy.stack import Stack
    from policy.view import View


class _Unknown:
    """The one value of this class stands for whatever is not known before the update."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class Options:
    """Resource options that rules ask about. Timeouts are in seconds, `None` where the program sets none;
    `dependencies` are URNs, `None` where nobody says; `default_namespace` is that of the resource's provider.
    """

    protect: bool = False
    create_timeout_seconds: float | None = None
    update_timeout_seconds: float | None = None
    dependencies: frozenset[str] | None = None
    default_namespace: Any = None


@dataclass(frozen=True)
class Resource:
    """A resource as it is declared: Pulumi's type token and name, and the inputs as plain data.

    Inputs hold `UNKNOWN` for what only the update decides, and a secret's value where it is known.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    urn: str = ""
    options: Options = Options()

    @property
    def kind(self) -> str:
        """The last word of the type token, which is what people call it: `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def ref(self) -> str:
        """How people, messages and waivers name it: `Deployment/user-service`."""
        return f"{self.kind}/{self.name}"


class Level(StrEnum):
    """What a violation does: it refuses the update, it is said, or the rule is not asked at all."""

    MANDATORY = "mandatory"
    ADVISORY = "advisory"
    OFF = "off"


Tier = Literal["dev", "prod"]


@dataclass(frozen=True)
class Levels:
    """A rule's level in each tier; which stack belongs to which is said in `policy/settings.yaml`."""

    dev: Level
    prod: Level

    def of(self, tier: Tier) -> Level:
        return self.prod if tier == "prod" else self.dev


EVERYWHERE = Levels(Level.MANDATORY, Level.MANDATORY)
ADVISED_IN_DEV = Levels(Level.ADVISORY, Level.MANDATORY)
ONLY_IN_PROD = Levels(Level.OFF, Level.MANDATORY)


@dataclass(frozen=True)
class Problem:
    """Where a resource breaks a rule, and how: what was met, what is allowed. Never the value of a secret."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


Subjects = Callable[[Resource], Iterable["View"]]


@dataclass(frozen=True)
class Rule:
    """One thing that is asked of resources.

    `subjects` are the parts of a resource it speaks about (each container, the pod, …), none where it does not apply;
    `check` yields the problems of one of them. A `stack_wide` rule needs to see all resources at once.
    """

    id: str
    title: str
    why: str
    source: str
    remedy: str
    levels: Levels
    subjects: Subjects
    check: Callable[[View, Stack], Iterable[Problem]]
    stack_wide: bool = False


class State(StrEnum):
    """What became of a rule on a resource."""

    VIOLATION = "violation"
    UNDECIDED = "decided at update"
    WAIVED = "waived"
    PASS = "pass"  # noqa: S105 (no password)


@dataclass(frozen=True)
class Result:
    """One rule asked of one resource. `problems` of an undecided one say which values are not known yet."""

    rule: Rule
    level: Level
    resource: Resource
    state: State
    problems: tuple[Problem, ...] = ()
    waiver: str = ""

    @property
    def refuses(self) -> bool:
        """Whether the update must not happen."""
        return self.state is State.VIOLATION and self.level is Level.MANDATORY
