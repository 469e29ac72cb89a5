"""The files that the services of a project read, and their effects on each other, without the catalogue: it takes a
hundredth of a second per service, and validates again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.catalog import SPEC_FILE
from services.yaml_source import DEFAULTS_KEY, SAFE_LOADER, SERVICES_KEY
from slipway.deploy.approval import SERVICES

OWN_KEYS = {
    *("image", "build", "contexts", "command", "args", "replicas", "resources", "env", "envFrom", "secrets", "files"),
    *("imagePullSecrets", "initContainers", "sidecars", "egress", "scratch", "health", "checks", "autoscaling"),
    *("rollout", "labels", "annotations", "serviceAccount", "nodeSelector", "tolerations", "affinity"),
    *("priorityClassName", "topologySpreadConstraints", "hostAliases", "dnsPolicy", "dnsConfig", "cronJob"),
    "migration",
}
"""Keys of service.yaml that affect no object of another service. Any other key counts as affecting others."""

NAMING_KEYS = {"files", "migration"}
"""Keys of objects made of other files than service.yaml and named by content: another content is another object."""


@dataclass(frozen=True)
class ServiceSources:
    """A service by its name; `spec` is its service.yaml, `places` are the folders and files that it is made from, all
    relative to the project's folder.
    """

    name: str
    spec: str
    places: tuple[str, ...]
    shared: str
    """A hash of what in its service.yaml affects others."""
    calls: tuple[str, ...] = ()
    """The services that it names."""
    is_named_by_content: bool = False
    """Whether files beside service.yaml decide the names of some of its objects."""

    def reads(self, file: str) -> bool:
        return any(file == place or file.startswith(f"{place}/") for place in self.places)


def service_sources(folder: Path, settings: Mapping[str, Any] | None = None) -> list[ServiceSources]:
    """The sources of every service of the project in `folder`; `settings` are the environment's `config`, which may
    name other places. Raises ValueError if a file cannot be read.
    """
    settings = settings or {}
    overrides, defaults = settings.get(SERVICES_KEY) or {}, settings.get(DEFAULTS_KEY) or {}
    found = []
    for file in sorted(folder.glob(f"{SERVICES}/*/{SPEC_FILE}")):
        try:
            spec = yaml.load(file.read_bytes(), SAFE_LOADER)  # noqa: S506 -- it is the safe one, in C if available
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
        if not isinstance(spec, dict):
            raise ValueError(f"{file} is not a mapping")
        own, name = file.parent.relative_to(folder).as_posix(), str(spec.get("name"))
        written = [spec, overrides.get(name) if isinstance(overrides, dict) else None, defaults]
        sections = [each for each in written if isinstance(each, dict)]
        calls = {str(callee) for each in sections for callee in each.get("calls") or ()}
        # Under any key: a path leaves the folder only by `..`.
        outside = {os.path.normpath(f"{own}/{text}") for each in written for text in _texts(each) if ".." in text}
        shared = {key: value for key, value in spec.items() if key not in OWN_KEYS}
        text = json.dumps(shared, sort_keys=True, default=str)
        found.append(
            ServiceSources(
                name,
                f"{own}/{SPEC_FILE}",
                (own, *sorted(outside)),
                hashlib.sha256(text.encode()).hexdigest(),
                tuple(sorted(calls)),
                is_named_by_content=any(key in NAMING_KEYS for each in sections for key in _keys(each)),
            )
        )
    return found


def shared_parts(folder: Path) -> dict[str, str]:
    """A hash of what in each service.yaml affects other services, by its path; empty if one cannot be read."""
    try:
        return {each.spec: each.shared for each in service_sources(folder)}
    except ValueError:
        return {}


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from map(str, value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(each)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts(each))
