"""Reads Kubernetes objects in the API server's JSON; a missing field reads as empty."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]


def object_at(item: Object, *keys: str) -> Object:
    """The object at that path, or an empty one."""
    found: Any = item
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def text_at(item: Object, *keys: str) -> str:
    """The text at that path; a number as text, a missing field as an empty one."""
    value = object_at(item, *keys[:-1]).get(keys[-1])
    return "" if value is None else str(value)


def number_at(item: Object, *keys: str, default: int = 0) -> int:
    value = object_at(item, *keys[:-1]).get(keys[-1])
    return value if isinstance(value, int) else default


def objects_at(item: Object, *keys: str) -> list[Object]:
    """The objects in the list at that path."""
    value = object_at(item, *keys[:-1]).get(keys[-1])
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def time_at(item: Object, *keys: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text_at(item, *keys))
    except ValueError:
        return None


def name_of(item: Object) -> str:
    return text_at(item, "metadata", "name")


def uid_of(item: Object) -> str:
    return text_at(item, "metadata", "uid")


def condition(item: Object, kind: str) -> Object:
    """The status condition of that type, or an empty object."""
    return next((each for each in objects_at(item, "status", "conditions") if each.get("type") == kind), {})


def is_owned_by(item: Object, owner: Object) -> bool:
    return any(each.get("uid") == uid_of(owner) for each in objects_at(item, "metadata", "ownerReferences"))


def event_time(event: Object) -> datetime | None:
    """When an event was seen last: recorders of the older and the newer API write different fields."""
    return (
        time_at(event, "series", "lastObservedTime")
        or time_at(event, "lastTimestamp")
        or time_at(event, "eventTime")
        or time_at(event, "metadata", "creationTimestamp")
    )


def first_event_time(event: Object) -> datetime | None:
    """When an event that may have been repeated was seen first."""
    return time_at(event, "firstTimestamp") or time_at(event, "eventTime") or event_time(event)


def event_count(event: Object) -> int:
    return number_at(event, "series", "count") or number_at(event, "count", default=1)
