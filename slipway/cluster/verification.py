"""Whether each service of a state works: its rollout, running images, checks, migration, cron job and other objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from services.spec import Check
from slipway.cluster.checks import CHECKS_ANNOTATION, ReadyPods, failing, recorded_checks
from slipway.cluster.client import Cluster, ClusterError, NotFoundError
from slipway.cluster.deployed import Deployed, cluster_errors, metadata
from slipway.cluster.diagnosis import Evidence, diagnose_job, is_complete
from slipway.cluster.diagnosis.model import (
    Object,
    condition,
    has_failed,
    is_done,
    last_ended,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from slipway.cluster.readiness import UnreadyObject, unready_objects
from slipway.engine.events import Urn
from slipway.errors import SlipwayError
from slipway.state.checkpoint import ResourceState
from slipway.state.kubernetes_objects import CRON_JOB_TYPE, DEPLOYMENT_TYPE, is_suspended, migrations

CHECKS_TIMEOUT_SECONDS = 10.0
DIGEST = "@sha256:"
CRON_JOB_COMPONENT = "slipway:index:CronJob"
POD = ("template", "spec")


@dataclass(frozen=True)
class ServiceVerdict:
    """The findings about one service; it works if there are no problems."""

    service: str
    namespace: str
    pods_wanted: int
    pods_available: int
    images: tuple[str, ...]
    checks: int
    problems: tuple[str, ...]
    about: str = ""
    """Text about a service that keeps no pods, instead of their number."""


@dataclass(frozen=True)
class RecordedDeployment:
    """What the state says about one Deployment; `replicas` is `None` if an autoscaler decides."""

    name: str
    namespace: str
    service: str
    replicas: int | None
    images: Mapping[str, str]
    checks: tuple[Check, ...]
    problem: str = ""


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


def verdicts_of(deployed: Deployed) -> list[ServiceVerdict]:
    """Compare every Deployment and CronJob of the state with the cluster, with the migrations before their rollouts and
    the unready objects of their services. A verdict for each unready object without a service follows at the end.
    SlipwayError if the cluster does not answer.
    """
    objects = deployed.objects()
    workloads = of_workloads(objects)
    recorded, cron_jobs = recorded_deployments(objects), recorded_cron_jobs(workloads)
    looked_after = {each.urn for each in workloads}
    others = [each for each in objects if each.urn not in looked_after]
    if not recorded and not cron_jobs:
        raise SlipwayError(
            f"The state of {deployed.stack} has no Deployment or CronJob: there is nothing to verify.",
            next_step=f"`slipway up -s {deployed.stack}` deploys its services.",
        )
    cluster = deployed.cluster
    with cluster_errors(), ThreadPoolExecutor() as pool:
        asking = pool.submit(_unmet, cluster, recorded)
        of_cron_jobs = pool.submit(cron_job_verdicts, cluster, cron_jobs)
        of_migrations = pool.submit(migration_problems, cluster, recorded_migrations(workloads))
        of_others = pool.submit(unready_objects, others, cluster)
        found = {namespace: cluster.rollouts(namespace) for namespace in {each.namespace for each in recorded}}
        evidence = [found[each.namespace].get(each.name) for each in recorded]
        reasons = list(pool.map(lambda pair: _rollout_reason(cluster, *pair), zip(recorded, evidence, strict=True)))
        unmet, problems, unready = asking.result(), of_migrations.result(), of_others.result()
        verdicts = [
            verdict(each, seen, reason, unmet[each.namespace, each.name])
            for each, seen, reason in zip(recorded, evidence, reasons, strict=True)
        ]
        verdicts += of_cron_jobs.result()
    services = sorted(
        (
            replace(each, problems=(*each.problems, problems[each.service])) if each.service in problems else each
            for each in verdicts
        ),
        key=lambda each: (each.namespace, each.service),
    )
    return with_objects(services, unready)


def with_objects(verdicts: Sequence[ServiceVerdict], unready: Sequence[UnreadyObject]) -> list[ServiceVerdict]:
    """Add each unready object as a problem of its service, or as a verdict of its own if it has no service."""
    services = {each.service for each in verdicts}
    problems = {each: [f"{one}: {one.problem}" for one in unready if one.service == each] for each in services}
    seen: set[str] = set()
    found = []
    for each in verdicts:
        more = () if each.service in seen else problems[each.service]
        seen.add(each.service)
        found.append(replace(each, problems=(*each.problems, *more)))
    own = [one for one in unready if one.service not in services]
    return found + [ServiceVerdict(str(one), one.namespace, 0, 0, (), 0, (one.problem,)) for one in own]


def _unmet(cluster: Cluster, recorded: Sequence[RecordedDeployment]) -> dict[tuple[str, str], list[str]]:
    """The checks of each Deployment that were not met in time."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for namespace in {each.namespace for each in recorded}:
        checks = {each.name: each.checks for each in recorded if each.namespace == namespace}
        for line in failing(checks, ReadyPods(cluster, namespace), CHECKS_TIMEOUT_SECONDS):
            found[namespace, line.partition(":")[0]].append(line)
    return found


def _rollout_reason(cluster: Cluster, recorded: RecordedDeployment, evidence: Evidence | None) -> str:
    """Why a rollout does not progress."""
    if evidence is None or is_complete(evidence):
        return ""
    try:
        diagnosis = cluster.diagnosis(recorded.namespace, recorded.name)
    except ClusterError:  # then the reason is not known
        return ""
    return diagnosis.headline if diagnosis else ""


def recorded_deployments(recorded: Iterable[ResourceState]) -> list[RecordedDeployment]:
    """The Deployments in order of names."""
    found = []
    for each in recorded:
        if each.type != DEPLOYMENT_TYPE:
            continue
        about, spec = metadata(each), object_at(each.inputs, "spec")
        name, namespace = str(about.get("name", each.name)), str(about.get("namespace", "default"))
        annotations = about.get("annotations")
        text = annotations.get(CHECKS_ANNOTATION) if isinstance(annotations, Mapping) else None
        checks, problem = [], ""
        try:
            checks = recorded_checks(text) if isinstance(text, str) else []
        except ValueError as error:
            problem = f"the checks recorded on it cannot be read: {error}"
        replicas = spec.get("replicas")
        desired = int(replicas) if isinstance(replicas, int | float) else None
        images = images_by_container(object_at(spec, "template", "spec"))
        found.append(RecordedDeployment(name, namespace, each.service or name, desired, images, tuple(checks), problem))
    return sorted(found, key=lambda each: (each.namespace, each.name))


def verdict(
    recorded: RecordedDeployment, found: Evidence | None, why_incomplete: str, unmet: Sequence[str]
) -> ServiceVerdict:
    """`found` is `None` if the cluster has no such Deployment; `unmet` are the checks that were not met."""
    live = found.deployment if found else {}
    desired = number_at(live, "spec", "replicas", default=1)
    problems: list[str] = []
    if found is None:
        problems.append("its Deployment is gone from the cluster")
    else:
        if recorded.replicas is not None and recorded.replicas != desired:
            problems.append(f"the Deployment in the cluster has {desired} replicas, the state says {recorded.replicas}")
        seen, generation = number_at(live, "status", "observedGeneration"), number_at(live, "metadata", "generation")
        if seen < generation:
            problems.append(f"the cluster has not started its last change yet (generation {generation}, seen {seen})")
        elif not is_complete(found):
            updated, available = (number_at(live, "status", key) for key in ("updatedReplicas", "availableReplicas"))
            counts = f"{updated} of {desired} pods updated, {available} available"
            why = f": {why_incomplete}" if why_incomplete else ""
            problems.append(f"its rollout is not complete: {counts}{why}")
        problems += _wrong_images(recorded, found)
    problems += [recorded.problem] if recorded.problem else []
    problems += [f"check failed: {line.removeprefix(f'{recorded.name}: ')}" for line in unmet]
    return ServiceVerdict(
        recorded.service,
        recorded.namespace,
        number_at(live, "spec", "replicas", default=recorded.replicas or 1),
        number_at(live, "status", "availableReplicas"),
        tuple(recorded.images.values()),
        len(recorded.checks),
        tuple(problems),
    )


def _wrong_images(recorded: RecordedDeployment, found: Evidence) -> Iterator[str]:
    """Differences in the Deployment's own images, and in the digests that its pods really run."""
    yield from wrong_images(
        recorded.images, images_by_container(object_at(found.deployment, "spec", "template", "spec"))
    )
    for pod in found.current_pods():
        for status in (
            *objects_at(pod, "status", "initContainerStatuses"),
            *objects_at(pod, "status", "containerStatuses"),
        ):
            expected = _digest(recorded.images.get(text_at(status, "name"), ""))
            running = _digest(text_at(status, "imageID"))
            if expected and running and expected != running:
                yield f"pod {text_at(pod, 'metadata', 'name')} runs {running[:19]}, the state says {expected[:19]}"


def wrong_images(recorded: Mapping[str, str], live: Mapping[str, str]) -> Iterator[str]:
    """The containers whose images differ from the recorded ones."""
    for container in sorted({*recorded, *live}):
        if live.get(container) != recorded.get(container):
            is_, should_be = live.get(container, "gone"), recorded.get(container, "none")
            yield f"container {container} is {is_}, the state says {should_be}"


def images_by_container(pod: Object) -> dict[str, str]:
    """Image by container, including init containers and sidecars."""
    containers = (*objects_at(pod, "initContainers"), *objects_at(pod, "containers"))
    return {text_at(each, "name"): text_at(each, "image") for each in containers}


def _digest(reference: Any) -> str:
    """`sha256:…` of an image reference; empty if it has none."""
    _, found, digits = str(reference).partition(DIGEST)
    return f"sha256:{digits}" if found else ""


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
    headline = _job_reason(cluster, job)
    return f"its migration {'failed' if has_failed(job) else 'has not ended'}: Job {recorded.name}{headline}"


def cron_job_verdicts(cluster: Cluster, recorded: Sequence[RecordedCronJob]) -> list[ServiceVerdict]:
    """Compare each CronJob of the state with the cluster, with the result of the last Job of its present template."""
    verdicts = []
    for namespace in dict.fromkeys(each.namespace for each in recorded):
        cron_jobs, jobs = cluster.cron_jobs(namespace)
        in_namespace = (each for each in recorded if each.namespace == namespace)
        verdicts += [_cron_job_verdict(cluster, each, cron_jobs.get(each.name), jobs) for each in in_namespace]
    return verdicts


def _cron_job_verdict(
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
        # A Job of an earlier template says nothing about this release.
        template = objects_at(spec, "jobTemplate", "spec", *POD, "containers")
        last = last_ended((job for job in jobs if objects_at(job, "spec", *POD, "containers") == template), live)
        if not last:
            about += ", no Job of it has ended yet"
        elif has_failed(last):
            problems.append(f"its last Job {text_at(last, 'metadata', 'name')} failed{_job_reason(cluster, last)}")
        else:
            about += f", last Job ended well at {text_at(condition(last, 'Complete'), 'lastTransitionTime')}"
    return ServiceVerdict(
        recorded.service, recorded.namespace, 0, 0, tuple(recorded.images.values()), 0, tuple(problems), about
    )


def _job_reason(cluster: Cluster, job: Object) -> str:
    """`: why` a Job fails or does not end; empty if that cannot be read."""
    try:
        evidence = cluster.job_evidence(job)
        diagnosis = diagnose_job(cluster.with_logs(evidence, diagnose_job(evidence).finding))
    except ClusterError:
        return ""
    log = next((tail.lines[-1] for tail in diagnosis.logs if tail.lines), "")
    headline = diagnosis.headline.removeprefix(f"{evidence.subject} ").removeprefix("failed: ")
    return f": {headline}" + (f", its log ends with: {log[:200]}" if log else "")
