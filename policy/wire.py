"""Reads resources as Pulumi's engine writes them: on the wire, in a checkpoint, or when a program registers them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from policy.declaration import UNKNOWN, Options, Resource
from slipway.values import OutputValue, Path, ResourceReference, Secret, Special, Unknown, mapped

# https://pkg.go.dev/time#ParseDuration
DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


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
