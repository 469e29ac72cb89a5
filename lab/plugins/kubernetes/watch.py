"""Watches shared by everything that waits: one per kind and namespace, each with a copy of what the server has."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.plugins.kubernetes.client import ApiError, CancelledError, Client, UnreachableError
from lab.plugins.kubernetes.discovery import Endpoint
from lab.plugins.kubernetes.values import Object, list_at, mapping_at, text_at

_RETRY_SECONDS = 1.0
_WATCH_SECONDS = 1800
_FIRST_LIST_SECONDS = 30.0


@dataclass(eq=False)
class Wake:
    """One waiter's bell: set by every change it asked about."""

    rung: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> bool:
        """Sleep until rung, at most so long; whether it was rung."""
        rung = self.rung.wait(seconds)
        self.rung.clear()
        return rung


class Watch:
    """Follows all objects of one kind in one namespace; `problem` says why it cannot."""

    def __init__(self, client: Client, endpoint: Endpoint, namespace: str) -> None:
        self._client = client
        self._path = endpoint.collection(namespace)
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], Object] = {}
        self._deleted: dict[tuple[str, str], Object] = {}
        self._listeners: dict[Wake, Callable[[Object], bool]] = {}
        self._listed = threading.Event()
        self.problem = ""
        threading.Thread(target=self._follow, name=f"watch {self._path}", daemon=True).start()

    def listen(self, wake: Wake, concerns: Callable[[Object], bool]) -> None:
        """Ring the bell at every change of an object that concerns it; waits for the first list."""
        with self._lock:
            self._listeners[wake] = concerns
        deadline = time.monotonic() + _FIRST_LIST_SECONDS
        while not self._listed.wait(0.05) and not self._client.cancelled.is_set() and time.monotonic() < deadline:
            pass

    def leave(self, wake: Wake) -> None:
        with self._lock:
            self._listeners.pop(wake, None)

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as last seen, or `None` if there is none."""
        with self._lock:
            return self._objects.get((namespace, name))

    def deleted(self, namespace: str, name: str) -> Object | None:
        """The last state of an object seen to be deleted while somebody listened: a finished job may be removed."""
        with self._lock:
            return self._deleted.get((namespace, name))

    def select(self, concerns: Callable[[Object], bool]) -> list[Object]:
        with self._lock:
            return [item for item in self._objects.values() if concerns(item)]

    def wake_all(self) -> None:
        with self._lock:
            for wake in self._listeners:
                wake.rung.set()

    def _follow(self) -> None:
        try:
            self._list_and_watch()
        finally:  # whatever ended it, who waits must look for themselves from now on
            self.problem = "the watch has ended"
            self._listed.set()
            self.wake_all()

    def _list_and_watch(self) -> None:
        """List, then watch from there; list again when the watch cannot go on."""
        version = ""
        while not self._client.cancelled.is_set():
            try:
                version = version or self._list()
                self.problem = ""
                version = self._watch(version)
            except ApiError as error:
                version = "" if error.status == 410 else version
                self._fail(str(error), forbidden=error.status in (403, 404, 405))
            except UnreachableError as error:
                self._fail(str(error))
            except CancelledError:
                return

    def _fail(self, problem: str, *, forbidden: bool = False) -> None:
        self.problem = problem
        if forbidden:
            self._listed.set()
        self.wake_all()
        self._client.cancelled.wait(_RETRY_SECONDS * (10 if forbidden else 1))

    def _list(self) -> str:
        listed = self._client.get(self._path)
        kind = text_at(listed, "kind").removesuffix("List")
        defaults = {"apiVersion": text_at(listed, "apiVersion"), "kind": kind}
        found = {_key(item): {**defaults, **item} for item in list_at(listed, "items")}
        with self._lock:
            self._objects = found
        self._listed.set()
        self.wake_all()
        return text_at(listed, "metadata", "resourceVersion")

    def _watch(self, version: str) -> str:
        """Follow events until the server ends the watch; returns the version to go on from, empty to list again."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        for kind, item in self._events(query):
            if kind == "ERROR":
                return ""
            version = text_at(item, "metadata", "resourceVersion") or version
            if kind != "BOOKMARK":
                self._note(kind, item)
        return version

    def _events(self, query: dict[str, str]) -> Iterator[tuple[str, Object]]:
        for line in self._client.lines(self._path, query):
            if not line:
                continue
            try:
                event = json.loads(line)
            except ValueError as error:  # something between us and the server cut in
                raise UnreachableError(f"the watch of {self._path} got an answer that is no JSON") from error
            yield text_at(event, "type"), mapping_at(event, "object")

    def _note(self, kind: str, item: Object) -> None:
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(_key(item), None)
            else:
                self._objects[_key(item)] = item
            concerned = [wake for wake, concerns in self._listeners.items() if concerns(item)]
            if kind == "DELETED" and concerned:
                self._deleted[_key(item)] = item
        for wake in concerned:
            wake.rung.set()


class Watches:
    """All watches of one cluster, started at first use."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str], Watch] = {}

    def on(self, endpoint: Endpoint, namespace: str) -> Watch:
        """The watch for a kind, in one namespace where the kind has them."""
        scope = namespace if endpoint.namespaced else ""
        with self._lock:
            key = (endpoint.collection(), scope)
            if key not in self._watches:
                self._watches[key] = Watch(self._client, endpoint, scope)
            return self._watches[key]

    def wake_all(self) -> None:
        """Wake every waiter: the update was cancelled."""
        with self._lock:
            watches = list(self._watches.values())
        for watch in watches:
            watch.wake_all()


def _key(item: Object) -> tuple[str, str]:
    return text_at(item, "metadata", "namespace"), text_at(item, "metadata", "name")
