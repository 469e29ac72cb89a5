"""Whether Deployments are rolled out and Jobs are done; ends the wait early for what waiting cannot fix."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from slipway.cluster.client import Cluster, ClusterError, ForbiddenError, NotFoundError
from slipway.cluster.diagnosis import Cause, Diagnosis, Evidence, diagnose, diagnose_job, is_rolled_out, screen
from slipway.cluster.diagnosis.diagnose import WIDTH
from slipway.cluster.diagnosis.model import (
    Finding,
    Object,
    condition,
    has_failed,
    is_done,
    name_of,
    number_at,
    object_at,
    text_at,
    time_at,
)
from slipway.cluster.diagnosis.pods import is_ready
from slipway.cluster.port_forward import ASKED_CAUSES, probe_answer
from slipway.engine.messages import DIAGNOSIS

# Within this time of its start, pods older than the rollout are of the previous release, which may be broken too.
SETTLED_SECONDS = 8.0
# Timestamps of objects are whole seconds.
CLOCK_SLACK = timedelta(seconds=2)
# An API server that restarts is back by then.
UNANSWERED_SECONDS = 30.0
# Lists are served from a cache that may not have a new object yet.
CACHE_SECONDS = 5.0
# The Deployment's own deadline comes first, unless its controller does not run.
STALLED_MARGIN_SECONDS = 30.0
LOG_READ_AFTER_ENDS = 2
ASK_AGAIN_SECONDS = 10.0
# https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"

Key = tuple[str, Cause, str]


class RolloutError(Exception):
    """Deployments that do not become ready, with one screen about each."""


@dataclass(frozen=True)
class Rollout:
    """A Deployment to wait for: it is rolled out only after its controller has acted on `generation` or a later one.

    `began_seconds` is when the wait began, by `time.monotonic`.
    """

    namespace: str
    name: str
    generation: int = 0
    began_seconds: float = field(default_factory=time.monotonic, compare=False)

    def __str__(self) -> str:
        return f"Deployment {self.namespace}/{self.name}"


@dataclass
class Rollouts:
    """Reads all Deployments to wait for in one to three requests per namespace; nothing is read before the first call.

    `began_seconds` is when the update began, by `time.monotonic`: older pods are of the previous release.
    """

    connect: Callable[[], Cluster]
    began_seconds: float = field(default_factory=time.monotonic)
    ask: Callable[[Cluster, Evidence, Finding], Object | None] = probe_answer
    """Returns an event about a probe's present answer."""
    status: dict[Rollout, str] = field(default_factory=dict)
    """The progress of each rollout that is not complete, in words."""
    _first_seen: dict[Key, float] = field(default_factory=dict)
    _progress: dict[Rollout, tuple[Any, float]] = field(default_factory=dict)
    _answers: dict[str, tuple[float, Object | None]] = field(default_factory=dict)
    _answered_seconds: float = field(default_factory=time.monotonic)

    def complete(self, waiting: Collection[Rollout]) -> set[Rollout]:
        """The Deployments of `waiting` that are rolled out now.

        Raises RolloutError as soon as one of them has failed for good: its cause does not go away by waiting, its
        progress deadline is over, or it is gone.
        """
        try:
            # The complete rollouts, and the others with their evidence.
            complete: set[Rollout] = set()
            unready = []
            for namespace in {rollout.namespace for rollout in waiting}:
                there = [rollout for rollout in waiting if rollout.namespace == namespace]
                found = self._cluster.rollouts(namespace, {rollout.name for rollout in there})
                for rollout in there:
                    evidence = found.get(rollout.name)
                    if _is_stale(rollout, evidence):
                        continue
                    if evidence is None:
                        raise RolloutError(
                            f"{DIAGNOSIS}{rollout} was deleted. An update with `--refresh` creates it again."
                        )
                    if is_rolled_out(evidence.deployment):
                        complete.add(rollout)
                    else:
                        unready.append((rollout, evidence))
                        desired = number_at(evidence.deployment, "spec", "replicas", default=1)
                        ready = sum(is_ready(pod) for pod in evidence.current_pods())
                        self.status[rollout] = f"{ready} of {desired} new pod{'' if desired == 1 else 's'} ready"
            failed = self._failed(unready) if unready else []
        except ForbiddenError as error:
            raise RolloutError(f"Waiting for rollouts failed: {error}") from error
        except ClusterError as error:
            if time.monotonic() - self._answered_seconds < UNANSWERED_SECONDS:
                return set()
            raise RolloutError(f"Waiting for rollouts failed: {error}") from error
        self._answered_seconds = time.monotonic()
        if failed:
            width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
            raise RolloutError(DIAGNOSIS + "\n\n".join(screen(diagnosis, width) for diagnosis in failed))
        return complete

    @cached_property
    def _cluster(self) -> Cluster:
        return self.connect()

    @cached_property
    def _since(self) -> datetime:
        """When the update began, by the API server's clock, which also sets timestamps of objects."""
        elapsed = timedelta(seconds=time.monotonic() - self.began_seconds)
        return self._cluster.now() - elapsed - CLOCK_SLACK

    def _failed(self, unready: Iterable[tuple[Rollout, Evidence]]) -> list[Diagnosis]:
        """Rollouts that have failed for good: first those whose patience is over, then others that fail too."""
        events: dict[str, Sequence[Object]] = {}
        hopeless: list[tuple[Diagnosis, bool]] = []
        for rollout, evidence in unready:
            late = self._is_late(rollout, evidence)
            current = evidence if late else self._of_this_update(rollout, evidence)
            if current is None:
                continue
            if rollout.namespace not in events:
                events[rollout.namespace] = self._cluster.events(rollout.namespace)
            seen = replace(current, events=events[rollout.namespace])
            diagnosis = diagnose(seen)
            if diagnosis.cause in ASKED_CAUSES and diagnosis.finding.pod:
                seen = self._with_answer(seen, diagnosis, late=late)
                diagnosis = diagnose(seen)
            # The log of a second crash may show that there is no point in a third.
            crashed = diagnosis.cause is Cause.CRASH and diagnosis.finding.ends >= LOG_READ_AFTER_ENDS
            if late or crashed or not diagnosis.retryable:
                diagnosis = diagnose(self._cluster.with_logs(seen, diagnosis.finding))
            if late or not diagnosis.retryable:
                hopeless.append((diagnosis, late))
        now, keys = time.monotonic(), {_key(found) for found, _ in hopeless}
        self._first_seen = {key: self._first_seen.get(key, now) for key in keys}
        over = [
            found
            for found, late in hopeless
            if late or now - self._first_seen[_key(found)] >= (found.patience_seconds or 0.0)
        ]
        return over + [found for found, _ in hopeless if found not in over] if over else []

    def _with_answer(self, seen: Evidence, diagnosis: Diagnosis, *, late: bool) -> Evidence:
        """The evidence with the present answer of the probe's path: the kubelet reports at most 25 answers of a pod, so
        its last one may be from a time when nothing listened yet.
        """
        finding, now = diagnosis.finding, time.monotonic()
        asked, event = self._answers.get(finding.pod, (float("-inf"), None))
        if late or now - asked >= ASK_AGAIN_SECONDS:
            event = self.ask(self._cluster, seen, finding) or event
            self._answers[finding.pod] = (now, event)
        return replace(seen, events=[*seen.events, event]) if event else seen

    def _is_late(self, rollout: Rollout, evidence: Evidence) -> bool:
        """Whether the Deployment's progress deadline is over, or nothing progresses for longer than that.

        The wait goes on while a rollout progresses, however long all of its replicas take. The condition stays when a
        Deployment goes back to an older ReplicaSet: it counts only for the ReplicaSet that it names. If it is older
        than this update, it counts only after the deadline has passed again.
        """
        deployment = evidence.deployment
        deadline_seconds = number_at(deployment, "spec", "progressDeadlineSeconds", default=600)
        now, progress = time.monotonic(), _progress(evidence)
        before, since_seconds = self._progress.get(rollout, (None, now))
        if progress != before:
            since_seconds = now
        self._progress[rollout] = (progress, since_seconds)
        progressing = condition(deployment, "Progressing")
        if progressing.get("reason") == DEADLINE_EXCEEDED:
            newest = name_of(evidence.current_set())
            updated = time_at(progressing, "lastUpdateTime")
            if newest and f'"{newest}"' in text_at(progressing, "message") and updated and updated >= self._since:
                return True
            return now - since_seconds > deadline_seconds
        return now - since_seconds > deadline_seconds + STALLED_MARGIN_SECONDS

    def _of_this_update(self, rollout: Rollout, evidence: Evidence) -> Evidence | None:
        """The evidence without pods that are older than the update; `None` if there is nothing else.

        An unchanged template keeps its pods. Ready pods do not matter to the update, however often they have ended;
        pods that are not ready may block it.
        """
        if evidence.is_paused:
            return evidence
        if time.monotonic() - rollout.began_seconds >= SETTLED_SECONDS:
            pods = [pod for pod in evidence.current_pods() if _is_since(pod, self._since) or not is_ready(pod)]
            return replace(evidence, pods=pods)
        pods = [pod for pod in evidence.current_pods() if _is_since(pod, self._since)]
        if not pods and not _is_since(evidence.current_set(), self._since):
            return None
        return replace(evidence, pods=pods)


@dataclass
class AwaitedJob:
    """A Job to wait for; each call of `done` reads it again, and nothing is read before the first."""

    connect: Callable[[], Cluster]
    namespace: str
    name: str
    status: str = ""
    """The state of a Job that has not ended, in words."""
    _seen: bool = False
    _first_seen: dict[tuple[str, str], float] = field(default_factory=dict)
    _answered_seconds: float = field(default_factory=time.monotonic)

    def done(self) -> bool:
        """Whether it has done its work, or is suspended. A Job that is missing from the beginning did its work in an
        earlier update.

        Raises RolloutError, one screen, as soon as it has failed, or fails for a reason that does not go away.
        """
        try:
            job = self._cluster.read(f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{self.name}")
            self._seen = True
            if is_done(job) or object_at(job, "spec").get("suspend") is True:
                return True
            evidence = self._cluster.job_evidence(job)
            diagnosis = diagnose_job(evidence)
            hopeless = has_failed(job) or self._is_hopeless(diagnosis)
            if hopeless:
                diagnosis = diagnose_job(self._cluster.with_logs(evidence, diagnosis.finding))
        except NotFoundError as error:
            if not self._seen:
                return True
            raise RolloutError(
                f"{DIAGNOSIS}Job {self.namespace}/{self.name} was deleted before it ended. "
                "The next update runs it again."
            ) from error
        except ForbiddenError as error:
            raise RolloutError(f"Waiting for Jobs failed: {error}") from error
        except ClusterError as error:
            if time.monotonic() - self._answered_seconds < UNANSWERED_SECONDS:
                return False
            raise RolloutError(f"Waiting for Jobs failed: {error}") from error
        self._answered_seconds = time.monotonic()
        self.status = diagnosis.finding.state or "no pods yet"
        if hopeless:
            width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
            raise RolloutError(DIAGNOSIS + screen(diagnosis, width))
        return False

    @cached_property
    def _cluster(self) -> Cluster:
        return self.connect()

    def _is_hopeless(self, diagnosis: Diagnosis) -> bool:
        """Whether the failure has lasted for as long as it may take to go away; the Job itself counts its ends."""
        if diagnosis.patience_seconds is None or diagnosis.finding.ends:
            self._first_seen.clear()
            return False
        key = diagnosis.cause, diagnosis.finding.container
        since = self._first_seen.setdefault(key, time.monotonic())
        return time.monotonic() - since >= diagnosis.patience_seconds


def _is_stale(rollout: Rollout, evidence: Evidence | None) -> bool:
    """Whether the API server's cache does not have the changes of this update yet."""
    if evidence is None:
        return time.monotonic() - rollout.began_seconds < CACHE_SECONDS
    return number_at(evidence.deployment, "metadata", "generation") < rollout.generation


def _progress(evidence: Evidence) -> tuple[Any, ...]:
    """The values that change while a rollout progresses: its counts and the ready pods of its newest template."""
    keys = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    counts = (number_at(evidence.deployment, "status", key) for key in keys)
    return (*counts, frozenset(name_of(pod) for pod in evidence.current_pods() if is_ready(pod)))


def _key(diagnosis: Diagnosis) -> Key:
    return diagnosis.service, diagnosis.cause, diagnosis.finding.container


def _is_since(item: Object, since: datetime) -> bool:
    created = time_at(item, "metadata", "creationTimestamp")
    return created is not None and created >= since
