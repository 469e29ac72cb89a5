"""Jobs of cron jobs and migrations in the cluster: whether they have done their work, and if not, why."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from slipway.cluster.client import Cluster, ClusterError, ForbiddenError, NotFoundError
from slipway.cluster.deployed import metadata
from slipway.cluster.diagnosis import Diagnosis, diagnose_job, screen
from slipway.cluster.diagnosis.model import has_failed, is_done, last_ended
from slipway.cluster.diagnosis.objects import Object, condition, object_at, objects_at, text_at
from slipway.cluster.diagnosis.screen import WIDTH
from slipway.cluster.rollouts import UNANSWERED_SECONDS, RolloutError
from slipway.cluster.verification import ServiceVerdict, images_by_container, wrong_images
from slipway.engine.events import Urn
from slipway.engine.messages import DIAGNOSIS
from slipway.state.checkpoint import ResourceState
from slipway.state.images import CRON_JOB_TYPE
from slipway.state.migrations import is_suspended, migrations

CRON_JOB_COMPONENT = "slipway:index:CronJob"
POD = ("template", "spec")


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


@dataclass(frozen=True)
class RecordedCronJob:
    """What the state says about one CronJob."""

    name: str
    namespace: str
    service: str
    schedule: str
    images: Mapping[str, str]


@dataclass(frozen=True)
class RecordedMigration:
    """What the state says about the Job that runs a service's migration."""

    name: str
    namespace: str
    service: str


def of_workloads(recorded: Iterable[ResourceState]) -> list[ResourceState]:
    """The CronJobs that are services, and the Jobs of migrations; none that a service declares in addition."""
    found = list(recorded)
    jobs = {each.urn for each in migrations(found).values()}
    return [each for each in found if each.urn in jobs or _is_service(each)]


def _is_service(resource: ResourceState) -> bool:
    if resource.type != CRON_JOB_TYPE or not resource.parent:
        return False
    parent = Urn(resource.parent)
    return (parent.type, parent.name) == (CRON_JOB_COMPONENT, resource.name)


def recorded_cron_jobs(recorded: Iterable[ResourceState]) -> list[RecordedCronJob]:
    """The CronJobs in order of names."""
    found = []
    for each in recorded:
        if each.type == CRON_JOB_TYPE:
            about, spec = metadata(each), object_at(each.inputs, "spec")
            name, namespace = str(about.get("name", each.name)), str(about.get("namespace", "default"))
            images = images_by_container(object_at(spec, "jobTemplate", "spec", *POD))
            schedule = f"{text_at(spec, 'schedule')} {text_at(spec, 'timeZone')}".strip()
            found.append(RecordedCronJob(name, namespace, each.service or name, schedule, images))
    return sorted(found, key=lambda each: (each.namespace, each.name))


def recorded_migrations(recorded: Iterable[ResourceState]) -> list[RecordedMigration]:
    """The migrations that are meant to run: none that a rollback has declared again."""
    return [
        RecordedMigration(str(metadata(each)["name"]), str(metadata(each).get("namespace", "default")), service)
        for service, each in migrations(recorded).items()
        if not is_suspended(each)
    ]


def migration_problems(cluster: Cluster, recorded: Sequence[RecordedMigration]) -> dict[str, str]:
    """What is wrong with the migrations, by service. A Job that is gone from the cluster did its work before."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda each: _migration_problem(cluster, each), recorded)
        return {each.service: problem for each, problem in zip(recorded, found, strict=True) if problem}


def _migration_problem(cluster: Cluster, recorded: RecordedMigration) -> str:
    try:
        job = cluster.read(f"/apis/batch/v1/namespaces/{recorded.namespace}/jobs/{recorded.name}")
    except NotFoundError:
        return ""
    if is_done(job):
        return ""
    headline = _reason(cluster, job)
    return f"its migration {'failed' if has_failed(job) else 'has not ended'}: Job {recorded.name}{headline}"


def cron_job_verdicts(cluster: Cluster, recorded: Sequence[RecordedCronJob]) -> list[ServiceVerdict]:
    """Compare each CronJob of the state with the cluster, with the result of the last Job of its present template."""
    verdicts = []
    for namespace in dict.fromkeys(each.namespace for each in recorded):
        cron_jobs, jobs = cluster.cron_jobs(namespace)
        verdicts += [
            _verdict(cluster, each, cron_jobs.get(each.name), jobs) for each in recorded if each.namespace == namespace
        ]
    return verdicts


def _verdict(
    cluster: Cluster, recorded: RecordedCronJob, live: Object | None, jobs: Sequence[Object]
) -> ServiceVerdict:
    problems: list[str] = []
    about = f"CronJob at {recorded.schedule}"
    if live is None:
        problems.append("its CronJob is gone from the cluster")
    else:
        spec = object_at(live, "spec")
        problems += wrong_images(recorded.images, images_by_container(object_at(spec, "jobTemplate", "spec", *POD)))
        about += ", suspended" if spec.get("suspend") is True else ""
        last = last_ended((job for job in jobs if _has_template_of(job, live)), live)
        if not last:
            about += ", no Job of it has ended yet"
        elif has_failed(last):
            problems.append(f"its last Job {text_at(last, 'metadata', 'name')} failed{_reason(cluster, last)}")
        else:
            about += f", last Job ended well at {text_at(condition(last, 'Complete'), 'lastTransitionTime')}"
    return ServiceVerdict(
        recorded.service, recorded.namespace, 0, 0, tuple(recorded.images.values()), 0, tuple(problems), about
    )


def _has_template_of(job: Object, cron_job: Object) -> bool:
    """Whether the Job is from the CronJob's present template: an earlier one says nothing about a release."""
    now = objects_at(cron_job, "spec", "jobTemplate", "spec", *POD, "containers")
    return objects_at(job, "spec", *POD, "containers") == now


def _reason(cluster: Cluster, job: Object) -> str:
    """`: why` a Job fails or does not end; empty if that cannot be read."""
    try:
        evidence = cluster.job_evidence(job)
        diagnosis = diagnose_job(cluster.with_logs(evidence, diagnose_job(evidence).finding))
    except ClusterError:
        return ""
    log = next((tail.lines[-1] for tail in diagnosis.logs if tail.lines), "")
    headline = diagnosis.headline.removeprefix(f"{evidence.subject} ").removeprefix("failed: ")
    return f": {headline}" + (f", its log ends with: {log[:200]}" if log else "")
