"""The settings of a temporary environment, derived from those of another one. Pure: values in, values and text out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from services.catalog import Service
from services.fields import LABEL_MAX_LENGTH
from services.spec import ServiceSpec
from services.yaml_source import SERVICES_KEY
from slipway.environments.temporary import HEADER
from slipway.errors import ConfigurationError

NAMESPACE_KEY, PULL_SECRETS_KEY = "slipway:namespace", "slipway:imagePullSecrets"
# Settings for one environment only: its namespace, the update it rolls back to, the objects of others it takes over.
OWN_KEYS = (NAMESPACE_KEY, "slipway:rollbackTo", "slipway:adopt")


@dataclass(frozen=True)
class DerivedSettings:
    """The values under `config`, and lines for the user: differences from the other environment, and shared parts."""

    config: dict[str, Any]
    notes: tuple[str, ...] = ()

    def text(self, name: str, like: str, others: Mapping[str, Any]) -> str:
        """The text of the file; `others` are keys beside `config`."""
        head = f"{HEADER} {like}`, and never committed: `slipway down -s {name}` removes it.\n"
        return head + yaml.safe_dump({"config": self.config, **others}, sort_keys=False, allow_unicode=True)


def derive_settings(config: Mapping[str, Any], services: Sequence[Service], name: str, like: str) -> DerivedSettings:
    """The settings of environment `name`, like those of `like`, which `config` and `services` belong to.

    In a cluster, only one Service can have a node port, or the host and path of an Ingress. So the cluster chooses node
    ports, and the first label of a host gets the environment's name in front. Raises ConfigurationError if the two
    would be in one namespace, and for a host that gets too long.
    """
    namespace = config.get(NAMESPACE_KEY)
    if isinstance(namespace, Mapping) and namespace.get("managed") is False:
        raise ConfigurationError(
            f"{name} cannot be created like {like}: {like} does not manage its namespace "
            f"{namespace.get('name')}, and both would be in it.",
            why=f"A temporary environment creates its own namespace, slipway-{name}, and deletes it.",
            next_step=f"Write Pulumi.{name}.yaml with a `{NAMESPACE_KEY}` that was created for it, or name another "
            "environment with --like.",
        )
    derived = {key: copy.deepcopy(value) for key, value in config.items() if key not in OWN_KEYS}
    overrides = derived.setdefault(SERVICES_KEY, {})
    notes: list[str] = []
    for service in services:
        changed = dict(_changes(service.spec, name))
        for section, values in changed.items():
            own = overrides.setdefault(service.name, {})
            own[section] = {**(own.get(section) or {}), **values}
        notes += _service_notes(service.spec, changed)
    if not overrides:
        del derived[SERVICES_KEY]
    notes += [f"{key} of {like} is left out" for key in OWN_KEYS if key in config and key != NAMESPACE_KEY]
    if secrets := sorted(key for key, value in derived.items() if is_secret(value)):
        notes.append(
            f"secrets copied from {like}: {', '.join(secrets)}; the systems they open, such as databases, are shared"
        )
    pull_secrets = {str(each) for each in config.get(PULL_SECRETS_KEY) or ()}
    pull_secrets |= {each for service in services for each in service.spec.image_pull_secrets}
    if pull_secrets:
        notes.append(
            f"images are pulled with {', '.join(sorted(pull_secrets))}, to be made in namespace slipway-{name}"
        )
    return DerivedSettings(derived, tuple(notes))


def is_secret(value: Any) -> bool:
    """Whether a value under `config` is encrypted, or contains an encrypted value."""
    if isinstance(value, Mapping):
        return set(value) == {"secure"} or any(is_secret(each) for each in value.values())
    return isinstance(value, list) and any(is_secret(each) for each in value)


def _changes(spec: ServiceSpec, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sections of `service.yaml` with the values that override them."""
    if spec.service.node_port:
        yield "service", {"nodePort": None}
    if spec.ingress:
        yield "ingress", {"host": _host(spec.name, spec.ingress.host, name)}


def _host(service: str, host: str, name: str) -> str:
    """`shop.example` becomes `pr-123-shop.example`: as many labels, so that a DNS wildcard and its certificate fit."""
    wildcard, rest = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    label, dot, domain = f"{name}-{rest}".partition(".")
    if len(label) > LABEL_MAX_LENGTH:
        raise ConfigurationError(
            f"{name} cannot be created: the Ingress of {service} would have the host {label}{dot}{domain}.",
            why=f"Its first part has {len(label)} characters; allowed are {LABEL_MAX_LENGTH}.",
            next_step="Choose a shorter name with -s.",
        )
    return f"{wildcard}{label}{dot}{domain}"


def _service_notes(spec: ServiceSpec, changed: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if "service" in changed:
        yield f"{spec.name}: the cluster chooses its node port; {spec.service.node_port} is taken"
    if "ingress" in changed:
        yield f"{spec.name}: its host is {changed['ingress']['host']}, which needs a DNS record for this cluster"
        if spec.ingress and spec.ingress.tls_secret_name:
            yield f"{spec.name}: its TLS secret {spec.ingress.tls_secret_name} is to be made in the new namespace"
