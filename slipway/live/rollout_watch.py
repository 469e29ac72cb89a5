"""Watches the rollouts of a running update, and ends the wait for those that waiting cannot mend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.cluster import Cluster, ClusterError
from slipway.diagnosis import Cause, Diagnosis, Evidence, diagnose, is_complete
from slipway.diagnosis.objects import Object, text_at, time_at
from slipway.diagnosis.pods import is_ready
from slipway.engine.events import Event, Failed, Finished, Started
from slipway.session import Session

DEPLOYMENT_TYPE = "kubernetes:apps/v1:Deployment"
ROLLING_OUT = ("create", "update", "create-replacement")
POLL_SECONDS = 1.0
# Most rollouts are done by then, and nothing is spent on watching them.
HEAD_START_SECONDS = 2.0
# Within this time of its start, what is older than the rollout is the release before, which may be broken too.
SETTLED_SECONDS = 8.0
# Timestamps of objects are whole seconds.
CLOCK_SLACK = timedelta(seconds=2)
# A cluster that does not answer is the provider's to complain of.
ERRORS_BORNE = 5
LOG_READ_AFTER_ENDS = 2

Key = tuple[str, Cause, str]


@dataclass(frozen=True)
class Rollout:
    """A Deployment that the engine is updating; `since` is the local clock's."""

    namespace: str
    name: str
    began_seconds: float
    since: datetime


@dataclass
class RolloutWatch:
    """Sees the engine's events; nothing is imported or asked before one says that a Deployment is being rolled out.

    When a rollout has failed for good, `diagnoses` says why, most telling first, and the engine is asked to cancel,
    which is what one Ctrl-C does: the state stays whole, and the history has the update as failed.
    """

    connect: Callable[[], Cluster]
    diagnoses: Sequence[Diagnosis] = ()
    problem: str = ""
    _rollouts: dict[str, Rollout] = field(default_factory=dict)
    _first_seen: dict[Key, float] = field(default_factory=dict)
    _cancel: Callable[[], None] | None = None
    _thread: threading.Thread | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def cancelling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Watch until the block ends; `cancel` asks the engine to stop."""
        self._cancel = cancel
        try:
            yield
        finally:
            self._stopped.set()
            if self._thread is not None:
                self._thread.join()

    def see(self, event: Event) -> None:
        """Take in what the engine began or ended."""
        if not isinstance(event, Started | Finished | Failed) or event.resource.type != DEPLOYMENT_TYPE:
            return
        with self._lock:
            if isinstance(event, Started) and event.operation in ROLLING_OUT:
                self._rollouts[event.resource.urn] = _rollout(event.inputs)
            else:
                self._rollouts.pop(event.resource.urn, None)
        if self._rollouts and self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        try:
            self._watch_until_lost()
        except Exception as error:  # noqa: BLE001 -- a watcher that breaks must not take the update with it
            self.problem = f"{type(error).__name__}: {error}"

    def _watch_until_lost(self) -> None:
        if self._stopped.wait(HEAD_START_SECONDS):
            return
        cluster, errors = self.connect(), 0
        ahead = cluster.now() - datetime.now(UTC)
        while not self._stopped.wait(POLL_SECONDS) and errors < ERRORS_BORNE:
            try:
                lost = self._lost(cluster, ahead)
            except ClusterError as error:
                errors, self.problem = errors + 1, str(error)
                continue
            errors = 0
            if lost and self._cancel is not None and not self._stopped.is_set():
                self.diagnoses = lost
                self._cancel()
                return

    def _lost(self, cluster: Cluster, ahead: timedelta) -> list[Diagnosis]:
        """Rollouts without hope: those whose patience is over first, then others that show the same; or none."""
        with self._lock:
            rollouts = list(self._rollouts.values())
        hopeless = []
        for namespace in {rollout.namespace for rollout in rollouts}:
            own = [rollout for rollout in rollouts if rollout.namespace == namespace]
            hopeless += [found for found in _examined(cluster, namespace, own, ahead) if not found.retryable]
        now, keys = time.monotonic(), {_key(found) for found in hopeless}
        self._first_seen = {key: self._first_seen.get(key, now) for key in keys}
        over = [found for found in hopeless if now - self._first_seen[_key(found)] >= (found.patience_seconds or 0.0)]
        return over + [found for found in hopeless if found not in over] if over else []


def _key(diagnosis: Diagnosis) -> Key:
    return diagnosis.service, diagnosis.cause, diagnosis.finding.container


def _rollout(inputs: Mapping[str, Any]) -> Rollout:
    return Rollout(
        text_at(inputs, "metadata", "namespace") or "default",
        text_at(inputs, "metadata", "name"),
        time.monotonic(),
        datetime.now(UTC),
    )


def _examined(cluster: Cluster, namespace: str, rollouts: Sequence[Rollout], ahead: timedelta) -> Iterator[Diagnosis]:
    """A diagnosis of each of the rollouts that is not done, logs read where a container has crashed for good."""
    found = cluster.rollouts(namespace)
    pending = [_of_this_update(found[rollout.name], rollout, ahead) for rollout in rollouts if rollout.name in found]
    unready = [evidence for evidence in pending if evidence and not is_complete(evidence)]
    events = cluster.events(namespace) if unready else []
    for evidence in unready:
        seen = replace(evidence, events=events)
        diagnosis = diagnose(seen)
        yield diagnose(cluster.with_logs(seen, diagnosis.finding)) if _is_worth_its_log(diagnosis) else diagnosis


def _is_worth_its_log(diagnosis: Diagnosis) -> bool:
    """A second crash may have told in its log that there is no hope in a third."""
    crashed = diagnosis.cause is Cause.CRASH and diagnosis.finding.ends >= LOG_READ_AFTER_ENDS
    return crashed or not diagnosis.retryable


def _of_this_update(evidence: Evidence, rollout: Rollout, ahead: timedelta) -> Evidence | None:
    """The evidence without what is older than the rollout; None where that is all there is.

    A template that stays keeps its pods. Those that are ready take no part in it, however often they ended in their
    lives; those that are not may keep it from its end.
    """
    since = rollout.since + ahead - CLOCK_SLACK
    if time.monotonic() - rollout.began_seconds >= SETTLED_SECONDS:
        pods = [pod for pod in evidence.current_pods() if _is_since(pod, since) or not is_ready(pod)]
        return replace(evidence, pods=pods)
    pods = [pod for pod in evidence.current_pods() if _is_since(pod, since)]
    if not pods and not _is_since(evidence.current_set(), since):
        return None
    return replace(evidence, pods=pods)


def _is_since(item: Object, since: datetime) -> bool:
    created = time_at(item, "metadata", "creationTimestamp")
    return created is not None and created >= since


def rollout_watch(session: Session, stack: str) -> RolloutWatch:
    """A watch over the cluster that the stack is deployed to."""
    kubeconfig = session.engine.environment.get("KUBECONFIG")
    return RolloutWatch(lambda: Cluster.connect(session.project.config(stack).get("slipway:context"), kubeconfig))
