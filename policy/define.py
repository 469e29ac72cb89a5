"""How a rule is written down: a function over one part of a resource, and what people are told about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from policy.declaration import Problem
from policy.model import EVERYWHERE, Levels, Rule, Subjects
from policy.stack import DeclaredStack
from policy.view import View

Check: TypeAlias = Callable[[View], Iterable[Problem]]
StackCheck: TypeAlias = Callable[[View, DeclaredStack], Iterable[Problem]]


def rule(
    id: str,
    *,
    title: str,
    why: str,
    source: str,
    remedy: str,
    of: Subjects,
    levels: Levels = EVERYWHERE,
) -> Callable[[Check], Rule]:
    """Make a rule of a function over one subject, such as a container."""

    def make(check: Check) -> Rule:
        return Rule(id, title, why, source, remedy, levels, of, lambda subject, _: check(subject))

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
) -> Callable[[StackCheck], Rule]:
    """Make a rule of a function over one subject and all resources of the stack."""

    def make(check: StackCheck) -> Rule:
        return Rule(id, title, why, source, remedy, levels, of, check, stack_wide=True)

    return make
