"""Rules and their results, and how a rule is defined: a function over one part of a resource, and texts for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from policy.declaration import Problem, Resource, View
from policy.stack import DeclaredStack


class Level(StrEnum):
    """What a violation does: it refuses the update, it is reported, or the rule is not checked."""

    MANDATORY = "mandatory"
    ADVISORY = "advisory"
    OFF = "off"


Tier = Literal["dev", "prod"]


@dataclass(frozen=True)
class Levels:
    """A rule's level in each tier; `policy/settings.yaml` says which stack belongs to which tier."""

    dev: Level
    prod: Level

    def of(self, tier: Tier) -> Level:
        return self.prod if tier == "prod" else self.dev


EVERYWHERE = Levels(Level.MANDATORY, Level.MANDATORY)
ADVISED = Levels(Level.ADVISORY, Level.ADVISORY)
ADVISED_IN_DEV = Levels(Level.ADVISORY, Level.MANDATORY)
ONLY_IN_PROD = Levels(Level.OFF, Level.MANDATORY)


Subjects = Callable[[Resource], Iterable[View]]


@dataclass(frozen=True)
class Rule:
    """One requirement on resources.

    `subjects` are the parts of a resource that it checks (each container, the pod, …), none if it does not apply;
    `check` yields the problems of one of them. A `stack_wide` rule needs to see all resources at once.
    """

    id: str
    title: str
    why: str
    source: str
    remedy: str
    levels: Levels
    subjects: Subjects
    check: Callable[[View, DeclaredStack], Iterable[Problem]]
    stack_wide: bool = False


@dataclass(frozen=True)
class Family:
    """A heading in a module of rules: all rules from here to the next one belong together, in docs/policy.md too."""

    title: str


class State(StrEnum):
    """The outcome of a rule on a resource."""

    VIOLATION = "violation"
    UNDECIDED = "decided at update"
    WAIVED = "waived"
    PASS = "pass"  # noqa: S105 (no password)


@dataclass(frozen=True)
class Result:
    """One rule checked on one resource. `problems` of an undecided one say which values are not known yet."""

    rule: Rule
    level: Level
    resource: Resource
    state: State
    problems: tuple[Problem, ...] = ()
    waiver: str = ""

    @property
    def refuses(self) -> bool:
        """Whether it refuses the update."""
        return self.state is State.VIOLATION and self.level is Level.MANDATORY


RuleFunction: TypeAlias = Callable[[View], Iterable[Problem]]
StackRuleFunction: TypeAlias = Callable[[View, DeclaredStack], Iterable[Problem]]


def rule(
    id: str,
    *,
    title: str,
    why: str,
    source: str,
    remedy: str,
    of: Subjects,
    levels: Levels = EVERYWHERE,
) -> Callable[[RuleFunction], Rule]:
    """Make a rule from a function over one subject, such as a container."""

    def make(function: RuleFunction) -> Rule:
        return Rule(id, title, why, source, remedy, levels, of, lambda subject, _: function(subject))

    return make


def stack_rule(
    id: str,
    *,
    title: str,
    why: str,
    source: str,
    remedy: str,
    of: Subjects,
    levels: Levels = EVERYWHERE,
) -> Callable[[StackRuleFunction], Rule]:
    """Make a rule from a function over one subject and all resources of the stack."""

    def make(function: StackRuleFunction) -> Rule:
        return Rule(id, title, why, source, remedy, levels, of, function, stack_wide=True)

    return make
