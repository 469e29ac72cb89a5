"""Reads resources as Pulumi's engine writes them: on the wire, in a checkpoint, or when a program registers them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from policy.declaration import UNKNOWN, Options, Resource

# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/sig/sig.go
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a mark, no secret)
RESOURCE_REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT_VALUE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
# https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/resource/plugin/rpc.go
UNKNOWN_MARKS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
# https://pkg.go.dev/time#ParseDuration
DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def plain(value: Any) -> Any:
    """The value without Pulumi's marks: secrets opened, what is not known (or still encrypted) as UNKNOWN."""
    if isinstance(value, str):
        return UNKNOWN if value in UNKNOWN_MARKS else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return _opened(value) if SIGNATURE in value else {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def _opened(marked: Mapping[str, Any]) -> Any:
    if marked[SIGNATURE] in (SECRET, OUTPUT_VALUE):
        return plain(marked["value"]) if "value" in marked else UNKNOWN
    if marked[SIGNATURE] == RESOURCE_REFERENCE:
        return plain(marked["id"]) if marked.get("id") else UNKNOWN
    return {key: plain(each) for key, each in marked.items() if key != SIGNATURE}  # an asset or archive


def seconds(timeout: str | float | None) -> float | None:
    """A timeout such as `2m30s`, or seconds already; `None` where none is set."""
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
