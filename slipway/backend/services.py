"""The services in a recorded state: the image of each, and a hash of all inputs of its objects."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slipway.backend.history import History
from slipway.backend.promotion import PROMOTED_FROM, promotions
from slipway.errors import SlipwayError
from slipway.paths import cache_home
from slipway.state.checkpoint import ResourceState, Snapshot, masked_secrets, objects
from slipway.state.kubernetes_objects import migration_of, pod_spec_of

MARK_LENGTH = 16
KEPT = 5_000


@dataclass(frozen=True)
class ServiceState:
    """`image` is the reference that its pods run, empty for none; `mark` is a hash of its inputs without secrets."""

    image: str
    mark: str
    promoted_from: Mapping[str, Any] | None = field(default=None, compare=False)
    """`environment`, `update`, `commit` and `time` of the update that verified a promoted image."""


@dataclass(frozen=True)
class ServiceChange:
    """A service that an update changed. An image is empty if the service did not exist; both are the same if only
    other inputs changed. `promoted_from` is of the new image."""

    name: str
    old_image: str
    new_image: str
    promoted_from: Mapping[str, Any] | None = None


Services = Mapping[str, ServiceState]


def services(snapshot: Snapshot) -> dict[str, ServiceState]:
    """The services by name, sorted."""
    found: dict[str, list[ResourceState]] = defaultdict(list)
    for each in objects(snapshot).values():
        if each.service:
            found[each.service].append(each)
    origins = {name: each.properties()[PROMOTED_FROM] for name, each in promotions(snapshot).items()}
    states = {}
    for name in sorted(found):
        inputs = sorted((each.urn, masked_secrets(each.inputs)) for each in found[name])
        mark = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:MARK_LENGTH]
        images: dict[str, str] = {}
        for each in found[name]:
            # A migration belongs to the release that ran it, which a rollback leaves behind.
            for container in () if migration_of(each) else pod_spec_of(each).get("containers") or ():
                images.setdefault(str(container.get("name", "")), str(container.get("image", "")))
        # The image of the container with the service's name, else of the first container.
        image = images.get(name) or next(iter(images.values()), "")
        states[name] = ServiceState(image, mark, origins.get(name))
    return states


def changed(before: Services, after: Services) -> tuple[ServiceChange, ...]:
    """The services that differ, sorted by name."""
    none = ServiceState("", "")
    pairs = ((name, before.get(name, none), after.get(name, none)) for name in sorted({*before, *after}))
    return tuple(ServiceChange(name, old.image, new.image, new.promoted_from) for name, old, new in pairs if old != new)


class RecordedServices:
    """The services of recorded states, kept in the cache: a state never changes, and takes long to read."""

    def __init__(self, history: History) -> None:
        self._history = history
        name = hashlib.sha256(history.source.place.encode(errors="surrogateescape")).hexdigest()[:32]
        self._file = cache_home() / "history" / f"{name}.json"
        self._known: dict[str, dict[str, ServiceState]] = {}
        self._fresh = False
        # It is only a cache: an invalid one is rebuilt.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            content = json.loads(self._file.read_text(encoding="utf-8"))
            self._known = {
                identity: {name: ServiceState(**state) for name, state in found.items()}
                for identity, found in content.items()
            }

    def of(self, number: int) -> dict[str, ServiceState]:
        """The services after update `number`; raises SlipwayError if its state cannot be read."""
        identity = self._history.identity(number)
        if identity not in self._known:
            self._known[identity] = services(self._history.checkpoint(number))
            self._fresh = True
        return self._known[identity]

    def changes(self, number: int) -> tuple[ServiceChange, ...]:
        """The changes of update `number` against the state before it; raises SlipwayError if its own cannot be read."""
        after = self.of(number)
        before: Services = {}
        # Against the nearest older state that can be read: an update without one counts as no change.
        for older in reversed([known for known in self._history.numbers if known < number]):
            with contextlib.suppress(SlipwayError):
                before = self.of(older)
                break
        return changed(before, after)

    def save(self) -> None:
        """Write the cache. If it cannot be written, that only costs time."""
        if not self._fresh:
            return
        kept = dict(list(self._known.items())[-KEPT:])
        content = {identity: {name: asdict(state) for name, state in found.items()} for identity, found in kept.items()}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, delete=False) as file:
                json.dump(content, file)
            Path(file.name).replace(self._file)
