"""Who owns an object that an update is about to create: the provider applies it in any case, and would take over an
object of another owner.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from slipway.backend import History
from slipway.backend.history import find_backend_url
from slipway.cluster.client import Cluster, ForbiddenError, NotFoundError
from slipway.cluster.deployed import ApiResource, is_inside, object_path
from slipway.cluster.diagnosis.model import Object, object_at, objects_at, text_at, time_at, uid_of
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import SlipwayError
from slipway.paths import data_home
from slipway.project import Project
from slipway.state.checkpoint import ResourceState, Snapshot

STATES_LOOKED_AT = 20
# An interrupted update has created the object within this time after it looked for it.
CREATION_WINDOW = timedelta(minutes=10)
CLOCK_SLACK = timedelta(seconds=2)
NAMESPACE = ApiResource("v1", "Namespace")
PROVIDER_MANAGERS = "pulumi-kubernetes"
EXISTS = "exists already, and this stack did not create it"
"""The command line recognizes the refusal by this."""


class OwnershipError(Exception):
    """An object of that name exists, and it does not belong to this stack."""


@dataclass(frozen=True)
class Creations:
    """A file on this machine: objects that this stack's updates began to create, and when they did not exist yet.

    An update that is interrupted or killed while it creates an object does not record it in the state.
    """

    file: Path

    @classmethod
    def of(cls, folder: Path, project: str, stack: str) -> Creations:
        """The file of a stack in its backend; a stack of the same name elsewhere has its own."""
        where = f"{folder} {find_backend_url(Pulumi(folder, os.environ), Project(folder))}".encode(
            errors="surrogateescape"
        )
        digest = hashlib.sha256(where).hexdigest()[:16]
        return cls(data_home() / "creations" / f"{project}-{stack}-{digest}.jsonl")

    def begin(self, path: str, at: datetime) -> None:
        with suppress(OSError):  # a full disk must not prevent an update
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"path": path, "at": at.isoformat()}) + "\n")

    @cached_property
    def started(self) -> Mapping[str, datetime]:
        """When the creation of each path was last started, by the API server's clock."""
        found: dict[str, datetime] = {}
        with suppress(OSError):
            for line in self.file.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, KeyError, TypeError):  # the last line of an update that was killed
                    entry = json.loads(line)
                    found[str(entry["path"])] = datetime.fromisoformat(entry["at"])
        return found

    def has(self, path: str, live: Object) -> bool:
        """Whether an update began to create this object and never recorded it."""
        began, created = self.started.get(path), time_at(live, "metadata", "creationTimestamp")
        managers = [text_at(each, "manager") for each in objects_at(live, "metadata", "managedFields")]
        if began is None or created is None or not any(each.startswith(PROVIDER_MANAGERS) for each in managers):
            return False
        return began - CLOCK_SLACK <= created <= began + CREATION_WINDOW


@dataclass
class Ownership:
    """Checks for each object that is about to be created whether it exists, and if so, who owns it.

    `adopt` are patterns of `Kind/name` that the stack takes over; `open_history` is called for an object that exists.
    """

    connect: Callable[[], Cluster]
    open_history: Callable[[], History]
    creations: Creations
    adopt: Collection[str] = ()
    _new_namespaces: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def require(self, urn: str, kind: ApiResource, namespace: str, name: str, *, preview: bool = False) -> str:
        """Return if the stack may create the object, with a message about one that exists already.

        Raises OwnershipError, which says who owns it, if it does not belong to the stack, and ClusterError if the
        cluster does not answer.
        """
        with self._lock:
            path = object_path(self._cluster, kind, namespace, name)
        is_in_new = namespace in self._new_namespaces and is_inside(path, namespace)
        live = None if path is None or is_in_new else self._read(path)
        if live is None:
            if kind == NAMESPACE:
                self._new_namespaces.add(name)
            if path and not preview:
                with self._lock:
                    self.creations.begin(path, datetime.now(UTC) + self._ahead)
            return ""
        label = f"{kind.name}/{name}"
        if other := self._present_owner(urn, uid_of(live)):
            if preview:
                return ""  # an update reports it, and `slipway up` repairs it
            raise OwnershipError(
                f"{kind.name} {name} exists already: this stack's state has it as {other}.\n"
                "`slipway up` repairs the state after a failed update; a resource that was renamed needs an alias."
            )
        with self._lock:
            was_recorded = uid_of(live) in self._recorded_uids
        if was_recorded or self.creations.has(str(path), live):
            return f"Re-imported {kind.name} {name}: this stack created it, but its state does not list it."
        if any(fnmatch(label, pattern) for pattern in self.adopt):
            return f"Adopted {kind.name} {name}, as slipway:adopt says: {describe(live)}."
        raise OwnershipError(f"{kind.name} {name} {EXISTS}: {describe(live)}.\n{_next_step(kind, name)}")

    @cached_property
    def _cluster(self) -> Cluster:
        return self.connect()

    @cached_property
    def _ahead(self) -> timedelta:
        """How far the API server's clock is ahead of this machine's."""
        return self._cluster.now() - datetime.now(UTC)

    @cached_property
    def _history(self) -> History:
        return self.open_history()

    def _read(self, path: str) -> Object | None:
        try:
            return self._cluster.read(path)
        except NotFoundError:
            return None
        except ForbiddenError:
            return None  # without the right to read it, there is none to take it over: the API server refuses the apply

    def _present_owner(self, urn: str, uid: str) -> str:
        """The resource of the present state that is the object, other than `urn` itself; empty for none."""
        for each in _kubernetes_objects(self._history.present() or {}):
            if _uid(each) == uid and (each.urn != urn or each.raw.get("delete")):
                return f"{each.urn.rsplit('::', 1)[-1]}{' (to be deleted)' if each.raw.get('delete') else ''}"
        return ""

    @cached_property
    def _recorded_uids(self) -> frozenset[str]:
        """Those of every recorded state: `pulumi state delete` removes an object only from the present one."""
        uids: set[str] = set()
        for number in self._history.numbers[-STATES_LOOKED_AT:]:
            with suppress(SlipwayError):  # a damaged one is reported elsewhere
                uids |= {_uid(each) for each in _kubernetes_objects(self._history.checkpoint(number))}
        return frozenset(uids - {""})


def describe(live: Object) -> str:
    """When the object was created, who wrote it, and what its labels say about its owner."""
    managers = dict.fromkeys(text_at(each, "manager") for each in objects_at(live, "metadata", "managedFields"))
    labels = object_at(live, "metadata", "labels")
    shown = [f"{key}={value}" for key, value in labels.items() if key.startswith(("app.kubernetes.io/", "helm.sh/"))]
    parts = [f"created {text_at(live, 'metadata', 'creationTimestamp')}"]
    parts += [f"written by {', '.join(managers)}"] if managers else []
    parts += [f"labels {', '.join(shown)}"] if shown else []
    return ", ".join(parts)


def _next_step(kind: ApiResource, name: str) -> str:
    if kind == NAMESPACE:
        return (
            f"Use it without owning it with `slipway:namespace: {{name: {name}, managed: false}}`, choose another "
            f"name, or take it over with `slipway:adopt: [{kind.name}/{name}]` (`pulumi destroy` deletes it then)."
        )
    return (
        f"Rename or delete one of the two, or take it over with `slipway:adopt: [{kind.name}/{name}]` "
        "(`pulumi destroy` deletes it then)."
    )


def _kubernetes_objects(state: Snapshot) -> Iterable[ResourceState]:
    return (ResourceState(raw) for raw in state.get("resources") or () if str(raw["type"]).startswith("kubernetes:"))


def _uid(resource: ResourceState) -> str:
    return text_at(resource.outputs, "metadata", "uid")
