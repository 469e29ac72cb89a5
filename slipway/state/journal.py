"""Replays the engine's journal: what an update began and ended, entry by entry, on the state it began with.

The rules are those of `JournalReplayer` in Pulumi's pkg/backend/journal.go, the entries those of version 1 in
sdk/go/common/apitype/journal.go. Resources are named by their index in the state, or by the operation that made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from slipway.engine.events import STACK_TYPE, Urn
from slipway.state.checkpoint import Snapshot

Entry = Mapping[str, Any]
RESOURCES, PENDING = "resources", "pending_operations"
# A state with one of these is of a later version: ApplyFeatures in pkg/resource/stack/deployment.go.
FEATURES = {
    "refreshBeforeUpdate": "refreshBeforeUpdate",
    "viewOf": "views",
    "resourceHooks": "hooks",
    "taint": "taint",
    "replaceWith": "replaceWith",
    "extensionRef": "extension-parameterization",
    "snippetID": "snippets-prototype",
}
SERVICE = "service"
"""The engine's name for the key of a backend that speaks HTTP; the one that kept this journal has none."""
REFERENCES = ("urn", "parent", "deletedWith", "viewOf")


class Kind(IntEnum):
    """What an entry says of its operation."""

    BEGIN = 0
    SUCCESS = 1
    FAILURE = 2
    REFRESH_SUCCESS = 3
    OUTPUTS = 4
    WRITE = 5
    SECRETS_MANAGER = 6
    REBUILT_BASE_STATE = 7
    EXTENSION_PARAMETERIZE = 8
    SNIPPETS = 9


class Journal:
    """A state and the entries since then; `state()` is the state after the last of them. Changes none of its inputs."""

    def __init__(self, base: Snapshot) -> None:
        self._extensions: dict[str, Any] = {}
        self._byte_strings = False
        self._seen: set[int] = set()
        self._refreshed = False
        self._begin(base)

    def _begin(self, base: Snapshot) -> None:
        self._base = dict(base)
        self._made: list[dict[str, Any]] = []
        self._index: dict[int, int] = {}
        """Where in `_made` the resource of an operation is."""
        self._unfinished: dict[int, Entry] = {}
        self._removed_old: set[int] = set()
        self._removed_new: set[int] = set()
        self._replaced_old: dict[int, dict[str, Any]] = {}
        self._marked_old: dict[int, dict[str, bool]] = {}

    def add(self, entry: Entry) -> None:
        """Apply one entry; raises ValueError for a kind that is not known, so that nothing is lost unnoticed.

        An entry that comes twice counts once: the engine sends a batch again if it got no answer to it.
        """
        if entry["sequenceID"] in self._seen:
            return
        self._seen.add(entry["sequenceID"])
        self._byte_strings = self._byte_strings or bool(entry.get("requiresByteString"))
        operation, kind = int(entry["operationID"]), Kind(entry["kind"])
        if kind is Kind.BEGIN:
            self._unfinished[operation] = entry
        elif kind in (Kind.SUCCESS, Kind.FAILURE, Kind.REFRESH_SUCCESS):
            self._unfinished.pop(operation, None)
            if kind is Kind.SUCCESS:
                self._succeed(operation, entry)
            elif kind is Kind.REFRESH_SUCCESS:
                self._refreshed = True
                self._replace(entry, or_remove=True)
        elif kind is Kind.OUTPUTS:
            self._replace(entry, or_remove=False)
        elif kind is Kind.WRITE:
            self._base = dict(entry["newSnapshot"])
        elif kind is Kind.SECRETS_MANAGER:
            if entry["secretsProvider"]["type"] != SERVICE:
                self._base["secrets_providers"] = entry["secretsProvider"]
        elif kind is Kind.REBUILT_BASE_STATE:
            self._begin(self.state())
        elif kind is Kind.EXTENSION_PARAMETERIZE:
            self._extensions.setdefault(entry["extensionRef"], entry["extension"])
        elif kind is Kind.SNIPPETS:
            self._base["snippets"] = entry.get("snippets") or []

    def _succeed(self, operation: int, entry: Entry) -> None:
        if (made := entry.get("state")) is not None:
            self._index[operation] = len(self._made)
            self._made.append(dict(made))
        if (old := entry.get("removeOld")) is not None:
            self._removed_old.add(old)
        if (new := entry.get("removeNew")) is not None:
            self._removed_new.add(self._index[new])
        for mark, of_old, of_new in (
            ("delete", "deleteOld", "deleteNew"),
            ("pendingReplacement", "pendingReplacementOld", "pendingReplacementNew"),
        ):
            if (old := entry.get(of_old)) is not None:
                self._marked_old.setdefault(old, {})[mark] = True
            if (new := entry.get(of_new)) is not None:
                self._made[self._index[new]][mark] = True
        self._refreshed = self._refreshed or bool(entry.get("isRefresh"))

    def _replace(self, entry: Entry, *, or_remove: bool) -> None:
        """Replace the entry's resource by its state; without one, remove it if `or_remove`."""
        state, old, new = entry.get("state"), entry.get("removeOld"), entry.get("removeNew")
        if state is None and not or_remove:
            return
        if old is not None:
            if state is None:
                self._removed_old.add(old)
            else:
                self._replaced_old[old] = dict(state)
        if new is not None:
            if state is None:
                self._removed_new.add(self._index[new])
            else:
                self._made[self._index[new]] = dict(state)

    def state(self) -> dict[str, Any]:
        """The state now: what was made, then what is left of the earlier state, and every operation without an end."""
        resources = [raw for at, raw in enumerate(self._made) if at not in self._removed_new]
        for at, raw in enumerate(self._base.get(RESOURCES) or ()):
            if at not in self._removed_old:
                resources.append(self._replaced_old.get(at) or {**raw, **self._marked_old.get(at, {})})
        pending = [entry["operation"] for entry in self._unfinished.values() if entry.get("operation")]
        # Whether an object was made that an earlier update began to create is still not known.
        pending += [each for each in self._base.get(PENDING) or () if each["type"] == "creating"]
        if self._refreshed:
            resources = _without_dangling(resources)
        state = {
            **self._base,
            RESOURCES: _with_present_urns(resources),
            PENDING: pending,
            "extensions": {**self._extensions, **(self._base.get("extensions") or {})},
        }
        return {name: value for name, value in state.items() if value or name in ("manifest", "metadata")}

    def features(self, state: Snapshot) -> list[str]:
        """The names of what only later versions of a state can hold; empty for a state of version 3."""
        raws = [*state.get(RESOURCES, ()), *(each["resource"] for each in state.get(PENDING, ()))]
        found = {name for raw in raws for key, name in FEATURES.items() if raw.get(key)}
        found |= {"byteString"} if self._byte_strings else set()
        found |= {"snippets-prototype"} if state.get("snippets") else set()
        return sorted(found)


def _without_dangling(resources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The resources without references to some that a refresh has removed: rebuildDependencies in the engine."""
    everything = {raw["urn"] for raw in resources}
    known: set[str] = set()
    found = []
    for each in resources:
        raw = dict(each)
        for key in ("dependencies", "replaceWith"):
            if key in raw:
                raw[key] = [urn for urn in raw[key] or () if urn in known]
        if of_properties := raw.get("propertyDependencies"):
            raw["propertyDependencies"] = {
                key: [urn for urn in urns or () if urn in known] for key, urns in of_properties.items()
            }
        for key, there in (("deletedWith", known), ("parent", everything)):
            if key in raw and raw[key] not in there:
                del raw[key]
        known.add(raw["urn"])
        found.append(raw)
    return found


def _with_present_urns(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every reference under the URN that its resource has now: NormalizeURNReferences in the engine's core.go."""
    renamed: dict[str, str] = {}
    for raw in resources:
        for alias in raw.get("aliases") or ():
            renamed[alias] = raw["urn"]
        parent = renamed.get(raw.get("parent", ""))
        if parent and Urn(parent).type != STACK_TYPE:
            own = raw["urn"].split("::")
            own[2] = f"{parent.split('::')[2]}${own[2].rpartition('$')[2]}"
            renamed[raw["urn"]] = "::".join(own)
    if not renamed:
        return resources

    def now(urn: str) -> str:
        return renamed.get(urn, urn)

    found = []
    for raw in resources:
        each = {name: value for name, value in raw.items() if name != "aliases"}
        each.update({name: now(raw[name]) for name in REFERENCES if raw.get(name)})
        if provider := raw.get("provider"):
            urn, _, provider_id = provider.rpartition("::")
            each["provider"] = f"{now(urn)}::{provider_id}"
        if dependencies := raw.get("dependencies"):
            each["dependencies"] = [now(urn) for urn in dependencies]
        if of_properties := raw.get("propertyDependencies"):
            each["propertyDependencies"] = {
                key: [now(urn) for urn in urns or ()] for key, urns in of_properties.items()
            }
        found.append(each)
    return found
