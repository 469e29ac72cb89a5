"""All rules, by family. A `Family` in a module of this package begins one; a new module is added to `_MODULES`."""

from __future__ import annotations

from policy.model import Family, Rule
from policy.rules import (
    access,
    availability,
    containers,
    hardening,
    images,
    network,
    objects,
    pod_security,
    rollouts_and_jobs,
)

# In the order of the tables in docs/policy.md.
_MODULES = (
    *(images, containers, rollouts_and_jobs, availability, network),
    *(objects, pod_security, hardening, access),
)


def _by_family() -> dict[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {}
    for module in _MODULES:
        rules: list[Rule] | None = None
        for each in vars(module).values():
            if isinstance(each, Family):
                rules = found[each.title] = []
            elif isinstance(each, Rule):
                if rules is None:
                    raise TypeError(f"{module.__name__}: rule {each.id} comes before any Family")
                rules.append(each)
    return {title: tuple(rules) for title, rules in found.items()}


FAMILIES = _by_family()
ALL = tuple(rule for rules in FAMILIES.values() for rule in rules)
