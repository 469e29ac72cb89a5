"""Asks the cluster whether every service of a state works: rollouts, migrations, cron jobs, checks, other objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from slipway.cluster.checks import ReadyPods, failing
from slipway.cluster.client import Cluster, ClusterError
from slipway.cluster.deployed import Deployed, cluster_errors
from slipway.cluster.diagnosis import Evidence, is_complete
from slipway.cluster.jobs import (
    cron_job_verdicts,
    migration_problems,
    of_workloads,
    recorded_cron_jobs,
    recorded_migrations,
)
from slipway.cluster.readiness import UnreadyObject, unready_objects
from slipway.cluster.verification import RecordedDeployment, ServiceVerdict, recorded_deployments, verdict
from slipway.errors import SlipwayError

CHECKS_TIMEOUT_SECONDS = 10.0


def verdicts_of(deployed: Deployed) -> list[ServiceVerdict]:
    """Compare every Deployment and CronJob of the state with the cluster, with the migrations before their rollouts and
    the unready objects of their services. A verdict for each unready object without a service follows at the end.
    SlipwayError if the cluster does not answer.
    """
    objects = deployed.objects()
    workloads = of_workloads(objects)
    recorded, migrations = recorded_deployments(objects), recorded_migrations(workloads)
    cron_jobs = recorded_cron_jobs(workloads)
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
        of_migrations = pool.submit(migration_problems, cluster, migrations)
        of_others = pool.submit(unready_objects, others, cluster)
        found = {namespace: cluster.rollouts(namespace) for namespace in {each.namespace for each in recorded}}
        evidence = [found[each.namespace].get(each.name) for each in recorded]
        reasons = list(pool.map(lambda pair: _reason(cluster, *pair), zip(recorded, evidence, strict=True)))
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


def _reason(cluster: Cluster, recorded: RecordedDeployment, evidence: Evidence | None) -> str:
    """Why a rollout does not progress."""
    if evidence is None or is_complete(evidence):
        return ""
    try:
        diagnosis = cluster.diagnosis(recorded.namespace, recorded.name)
    except ClusterError:  # then the reason is not known
        return ""
    return diagnosis.headline if diagnosis else ""
