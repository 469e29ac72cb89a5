"""The loop that waits: asks the readiness function at every change, until an end is in sight."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.plugins.kubernetes.awaiting.readiness import Readiness, Sight, State
from lab.plugins.kubernetes.awaiting.registry import Concerns, Rule
from lab.plugins.kubernetes.client import ApiError, CancelledError, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.naming import qualified_name
from lab.plugins.kubernetes.values import Object, text_at
from lab.plugins.kubernetes.watch import Wake, Watch

# How often the loop looks without being woken: reasons grow old, and a watch may be down.
_TICK_SECONDS = 1.0
# How often the object itself is read though a watch follows it: a connection may be dead without anyone telling.
_ASK_SECONDS = 20.0


class NotReadyError(Exception):
    """The object exists but did not become ready; `live` is its last known state."""

    def __init__(self, live: Object, message: str, reasons: tuple[str, ...]) -> None:
        super().__init__(message)
        self.live = live
        self.reasons = reasons


@dataclass
class Ages:
    """For how long each thing has been so without a break, from one look to the next."""

    clock: Callable[[], float] = time.monotonic
    head_start_seconds: float = 0.0
    _since: dict[str, float] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    def of(self, key: str) -> float:
        now = self.clock()
        self._asked.add(key)
        return now - self._since.setdefault(key, now) + self.head_start_seconds

    def next_look(self) -> None:
        """Forget what was not asked about in the last look."""
        self._since = {key: since for key, since in self._since.items() if key in self._asked}
        self._asked = set()


class Wait:
    """One object's wait for readiness."""

    def __init__(
        self,
        reached: Reached,
        endpoint: Endpoint,
        live: Object,
        rule: Rule,
        *,
        cancelled: threading.Event,
        report: Callable[[str], None] = lambda _message: None,
        head_start_seconds: float = 0.0,
    ) -> None:
        self._reached = reached
        self._endpoint = endpoint
        self._live = live
        self._rule = rule
        self._cancelled = cancelled
        self._report = report
        self._wake = Wake()
        self._ages = Ages(head_start_seconds=head_start_seconds)
        self._started = time.monotonic()
        self._asked = self._started
        self._seen = False
        self._watch: Watch | None = None
        self._related: list[tuple[str, Watch, Concerns]] = []

    def run(self, timeout_seconds: float) -> Object:
        """The object once it is ready; raises `NotReadyError` when it failed, the time is up, or all is cancelled."""
        if self._rule.judge(Sight(self._live)).state is State.DONE:
            return self._live  # nothing to watch for, as with Services that have no selector
        try:
            self._listen()
            return self._loop(self._started + timeout_seconds)
        except CancelledError as error:
            raise NotReadyError(self._live, self._cancellation, ()) from error
        except UnreachableError as error:
            raise NotReadyError(self._live, f"'{self._name}' could not be watched", (str(error),)) from error
        finally:
            self._leave()

    def _loop(self, deadline: float) -> Object:
        while True:
            answer = self._look()
            if answer.state is State.DONE:
                return self._live
            if answer.state is State.FAILED:
                raise NotReadyError(self._live, answer.message, answer.reasons)
            if self._cancelled.is_set():
                raise NotReadyError(self._live, self._cancellation, answer.reasons)
            if time.monotonic() >= deadline:
                raise NotReadyError(self._live, f"'{self._name}' timed out waiting to be Ready", answer.reasons)
            self._report(answer.message)
            self._wake.wait(min(_TICK_SECONDS, max(deadline - time.monotonic(), 0.01)))

    def _look(self) -> Readiness:
        """Take in the newest state and ask the readiness function."""
        gone = self._refresh()
        related = {role: watch.select(concerns) for role, watch, concerns in self._related}
        answer = self._rule.judge(Sight(self._live, related, time.monotonic() - self._started, self._ages.of))
        self._ages.next_look()
        if gone and answer.state is not State.DONE:
            return Readiness(
                State.FAILED, f"'{self._name}' was deleted while waiting for it to be Ready", answer.reasons
            )
        return answer

    def _refresh(self) -> bool:
        """Bring the object up to date; returns whether it is gone."""
        watch = self._watch
        if watch is None or watch.problem or time.monotonic() - self._asked >= _ASK_SECONDS:
            self._asked = time.monotonic()
            return self._ask()
        namespace, name = text_at(self._live, "metadata", "namespace"), text_at(self._live, "metadata", "name")
        found = watch.get(namespace, name) or watch.deleted(namespace, name)
        if found is None:
            return self._seen
        if is_newer(found, self._live):
            self._live, self._seen = found, True
        return watch.get(namespace, name) is None and self._seen

    def _ask(self) -> bool:
        """Read the object itself, where watching is not allowed or not possible now."""
        namespace, name = text_at(self._live, "metadata", "namespace"), text_at(self._live, "metadata", "name")
        try:
            self._live = self._reached.client.get(self._endpoint.path(namespace, name))
        except ApiError as error:
            return error.is_not_found
        except UnreachableError:
            return False  # the server may come back; the deadline decides
        return False

    def _listen(self) -> None:
        namespace, uid = text_at(self._live, "metadata", "namespace"), text_at(self._live, "metadata", "uid")
        self._watch = self._reached.watches.on(self._endpoint, namespace)
        self._watch.listen(self._wake, lambda item: text_at(item, "metadata", "uid") == uid)
        for related in self._rule.related:
            try:
                endpoint = self._reached.discovery.endpoint(related.target)
            except (UnknownKindError, ApiError):
                continue  # reasons are told from what can be seen
            watch = self._reached.watches.on(endpoint, namespace)
            concerns = related.concerns(self._live)
            watch.listen(self._wake, concerns)
            self._related.append((related.role, watch, concerns))

    def _leave(self) -> None:
        for watch in [self._watch, *(watch for _, watch, _ in self._related)]:
            if watch is not None:
                watch.leave(self._wake)

    @property
    def _cancellation(self) -> str:
        return f"Resource operation was cancelled for {self._name!r}"

    @property
    def _name(self) -> str:
        return qualified_name(self._live)


def is_newer(found: Object, known: Object) -> bool:
    """Whether `found` is the same object at the same or a later version; a watch may lag behind our own write."""
    if text_at(found, "metadata", "uid") != text_at(known, "metadata", "uid"):
        return False
    ours, theirs = (text_at(item, "metadata", "resourceVersion") for item in (known, found))
    return int(theirs) >= int(ours) if ours.isdigit() and theirs.isdigit() else ours != theirs
