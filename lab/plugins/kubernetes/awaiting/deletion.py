"""Waiting until a deleted object is gone, and saying what holds it when it stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lab.plugins.kubernetes.client import ApiError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.discovery import Endpoint
from lab.plugins.kubernetes.naming import qualified_name
from lab.plugins.kubernetes.values import Object, list_at, text_at
from lab.plugins.kubernetes.watch import Wake

_TICK_SECONDS = 1.0
# A watch may be dead without anyone telling, so the object itself is asked for now and then.
_ASK_SECONDS = 20.0
# What a namespace's conditions call the contents that keep it alive.
_NAMESPACE_CONDITIONS = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
)


class NotGoneError(Exception):
    """The deletion was asked for, but the object is still there; `live` is its last known state."""

    def __init__(self, live: Object, message: str) -> None:
        super().__init__(message)
        self.live = live


def holding(live: Object) -> list[str]:
    """What keeps an object from going away: its finalizers, and what a namespace says is left in it."""
    told = [
        text_at(item, "message")
        for item in list_at(live, "status", "conditions")
        if text_at(item, "type") in _NAMESPACE_CONDITIONS and text_at(item, "status") == "True"
    ]
    if finalizers := [*list_at(live, "metadata", "finalizers"), *list_at(live, "spec", "finalizers")]:
        told.append(f"finalizers might be preventing deletion ({', '.join(map(str, finalizers))})")
    return told


def wait_until_gone(
    reached: Reached,
    endpoint: Endpoint,
    live: Object,
    *,
    timeout_seconds: float,
    cancelled: threading.Event,
    report: Callable[[str], None],
) -> None:
    """Return when the object, or at least this incarnation of it, is gone; raises `NotGoneError`."""
    namespace, name = text_at(live, "metadata", "namespace"), text_at(live, "metadata", "name")
    uid, deadline, wake = text_at(live, "metadata", "uid"), time.monotonic() + timeout_seconds, Wake()
    ask_at = time.monotonic() + _ASK_SECONDS
    watch = reached.watches.on(endpoint, namespace)
    watch.listen(wake, lambda item: text_at(item, "metadata", "uid") == uid)
    try:
        while True:
            seen = watch.get(namespace, name)
            if seen is None or watch.problem or time.monotonic() >= ask_at:
                seen, ask_at = _ask(reached, endpoint, namespace, name), time.monotonic() + _ASK_SECONDS
            if seen is None or text_at(seen, "metadata", "uid") != uid:
                return
            _give_up_if_over(seen, deadline, cancelled)
            report("; ".join(holding(seen)) or "Waiting for the object to be gone")
            wake.wait(min(_TICK_SECONDS, max(deadline - time.monotonic(), 0.01)))
    finally:
        watch.leave(wake)


def _give_up_if_over(seen: Object, deadline: float, cancelled: threading.Event) -> None:
    name = qualified_name(seen)
    reasons = "".join(f"\n  - {told}" for told in holding(seen))
    if cancelled.is_set():
        raise NotGoneError(
            seen, f"Resource operation was cancelled for {name!r}, which is still being deleted{reasons}"
        )
    if time.monotonic() >= deadline:
        raise NotGoneError(
            seen,
            f"{text_at(seen, 'kind')} {name!r} was deleted but is still there after the time allowed{reasons}\n"
            "Remove what holds it, or allow more time with `customTimeouts` or `pulumi.com/timeoutSeconds`.",
        )


def _ask(reached: Reached, endpoint: Endpoint, namespace: str, name: str) -> Object | None:
    try:
        return reached.client.get(endpoint.path(namespace, name))
    except ApiError as error:
        if error.is_not_found:
            return None
        raise
