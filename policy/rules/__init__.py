"""All rules, by family. A family is a module of this package; a new one is added to `_MODULES`."""

from __future__ import annotations

from types import ModuleType

from policy.model import Rule
from policy.rules import (
    availability,
    builds,
    credentials,
    hardening,
    images,
    jobs,
    network,
    objects,
    pod_security,
    probes,
    rbac,
    resources,
    rollouts,
    stateful,
)

_MODULES: dict[str, ModuleType] = {
    "Images": images,
    "Builds": builds,
    "Resources": resources,
    "Probes and shutdown": probes,
    "Rollouts": rollouts,
    "Jobs": jobs,
    "Availability": availability,
    "Network": network,
    "Objects": objects,
    "Pod Security": pod_security,
    "Hardening": hardening,
    "Credentials": credentials,
    "RBAC": rbac,
    "Stateful kinds": stateful,
}


def _rules_of(module: ModuleType) -> tuple[Rule, ...]:
    return tuple(each for each in vars(module).values() if isinstance(each, Rule))


FAMILIES = {name: _rules_of(module) for name, module in _MODULES.items()}
ALL = tuple(rule for rules in FAMILIES.values() for rule in rules)
