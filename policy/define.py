"""How a rule is defined: a function over one part of a resource, and the texts for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from policy.declaration import Problem
from policy.model import EVERYWHERE, Levels, Rule, Subjects
from policy.stack import DeclaredStack
from policy.view import View

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
