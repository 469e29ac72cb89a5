"""Waits for rollouts and then runs the checks: in the program, at every update, whether or not it changes anything.

The provider applies a Deployment and does not wait (`pulumi.com/waitFor`). So the state has the applied Deployment,
even if its rollout fails. If the provider's own wait is cancelled, it records nothing of the update, and the next one
takes the broken Deployment for the previous one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor
from pulumi_kubernetes import core

from components.program import in_thread
from services.spec import Check
from slipway.cluster.checks import Ask, failing
from slipway.cluster.client import Cluster, ClusterError
from slipway.cluster.diagnosis.model import objects_at, text_at, time_at
from slipway.cluster.rollouts import AwaitedJob, Rollout, RolloutError, Rollouts
from slipway.engine.messages import checks_failed
from slipway.engine.stages import ROLLED_OUT, ROLLING_OUT
from slipway.state.checkpoint import ResourceState

# Short at first: a rollout without new pods is complete at once.
FIRST_POLL_SECONDS, POLL_SECONDS, POLL_GROWTH = 0.1, 0.5, 1.5
# If a reading takes long, the pauses grow to this many times its duration, to leave time to others.
POLL_FACTOR = 4.0
ADDRESS_SECONDS = 60.0
ADDRESS_POLL_SECONDS = 2.0
PENDING = "pending"
SERVICES_WITH_LOG = 2
FAILURE_SHOWN = 500
LINE_SHOWN = 160
LOG_LINES_SHOWN = 8


class AwaitedRollouts:
    """The rollouts of one program; all of them share each reading of the cluster.

    In a preview, and if the program runs under mocks, nothing is rolled out and nothing waits.
    """

    def __init__(self, context: str | None) -> None:
        self._connect = partial(Cluster.connect, context)
        self._live = Rollouts(self._connect)
        self._waiting: dict[Rollout, tuple[pulumi.Resource, asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._pauses = _pauses()

    def complete(self, deployment: pulumi.Resource) -> pulumi.Output[bool]:
        """Resolves once the Deployment is rolled out; otherwise fails the update with one screen that says why.

        `deployment` is any resource with an output `metadata`.
        """
        metadata: pulumi.Output[Mapping[str, Any]] = deployment.metadata  # type: ignore[attr-defined]
        return metadata.apply(lambda known: self._wait(deployment, known))

    def complete_recorded(self, deployments: Sequence[ResourceState]) -> pulumi.Output[bool]:
        """The same for recorded Deployments that this run does not declare, for all of them at once."""

        async def wait(_: object) -> bool:
            waits = (
                self._wait(pulumi.resource.DependencyResource(each.urn), each.outputs["metadata"])
                for each in deployments
            )
            await asyncio.gather(*waits)
            return True

        return pulumi.Output.from_input(None).apply(wait)

    async def _wait(self, deployment: pulumi.Resource, metadata: Mapping[str, Any]) -> bool:
        if not _is_update():
            return True
        rollout = Rollout(str(metadata["namespace"]), str(metadata["name"]), int(metadata.get("generation") or 0))
        done = asyncio.get_running_loop().create_future()
        self._waiting[rollout] = (deployment, done)
        self._pauses = _pauses()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        await done
        return True

    def ended(self, job: pulumi.Resource) -> pulumi.Output[bool]:
        """Resolves once the Job has completed; otherwise fails the update with one screen that says why."""
        metadata: pulumi.Output[Mapping[str, Any]] = job.metadata  # type: ignore[attr-defined]

        async def wait(known: Mapping[str, Any]) -> bool:
            if not _is_update():
                return True
            awaited, shown = AwaitedJob(self._connect, str(known["namespace"]), str(known["name"])), ""
            pauses = _pauses()
            try:
                while not await in_thread(awaited.done):
                    if awaited.status != shown:
                        shown = awaited.status
                        pulumi.log.info(f"{ROLLING_OUT}: migration {shown}", job, ephemeral=True)
                    await asyncio.sleep(next(pauses))
            except RolloutError as error:
                failure = pulumi.RunError(str(error))
                self._fail(failure)
                raise failure from error
            if shown:
                pulumi.log.info(ROLLED_OUT, job, ephemeral=True)
            return True

        return metadata.apply(wait)

    async def _watch(self) -> None:
        shown: dict[Rollout, str] = {}
        while self._waiting:
            began = time.monotonic()
            try:
                complete = await in_thread(self._live.complete, list(self._waiting))
            except RolloutError as error:
                self._fail(pulumi.RunError(str(error)))
                return
            except Exception as error:  # noqa: BLE001 -- everything that waits must fail, or the update never ends
                self._fail(error)
                return
            for rollout in complete:
                deployment, done = self._waiting.pop(rollout)
                if rollout in shown:
                    pulumi.log.info(ROLLED_OUT, deployment, ephemeral=True)
                done.set_result(None)
            for rollout, (deployment, _) in self._waiting.items():
                if (text := self._live.status.get(rollout, "")) and shown.get(rollout) != text:
                    shown[rollout] = text
                    pulumi.log.info(f"{ROLLING_OUT}: {text}", deployment, ephemeral=True)
            if self._waiting:
                pause = next(self._pauses)
                busy = POLL_FACTOR * pause / POLL_SECONDS
                await asyncio.sleep(max(pause, busy * (time.monotonic() - began)))

    def _fail(self, error: Exception) -> None:
        """End the update: one failure is enough, the others would say the same."""
        waiting = [done for _, done in self._waiting.values()]
        self._waiting.clear()
        for done in waiting:
            done.set_exception(error)

    def address(self, service: core.v1.Service) -> pulumi.Output[str]:
        """The host name or IP address of a load balancer; `pending` with a warning if it has none a minute after it
        was created: without a load balancer controller it never gets one.
        """
        return service.metadata.apply(lambda known: self._address(service, str(known.namespace), str(known.name)))

    async def _address(self, service: pulumi.Resource, namespace: str, name: str) -> str:
        if not _is_update():
            return PENDING
        try:
            cluster = self._connect()
            while True:
                found = await in_thread(cluster.read, f"/api/v1/namespaces/{namespace}/services/{name}")
                entries = objects_at(found, "status", "loadBalancer", "ingress")
                if address := next((text_at(each, "hostname") or text_at(each, "ip") for each in entries), ""):
                    return address
                created = time_at(found, "metadata", "creationTimestamp")
                if created is None or (datetime.now(UTC) - created).total_seconds() > ADDRESS_SECONDS:
                    break
                await asyncio.sleep(ADDRESS_POLL_SECONDS)
        except ClusterError as error:
            pulumi.log.warn(f"The address of its load balancer cannot be read: {error}", service)
            return PENDING
        pulumi.log.warn(
            f"Its load balancer has no address {ADDRESS_SECONDS:g} s after it was created; the update does not wait. "
            f"See `{cluster.kubectl(namespace)} describe service {name}`.",
            service,
        )
        return PENDING


def _pauses() -> Iterator[float]:
    """Seconds between two readings of the cluster."""
    seconds = FIRST_POLL_SECONDS
    while True:
        yield seconds
        seconds = min(seconds * POLL_GROWTH, POLL_SECONDS)


def _is_update() -> bool:
    return not pulumi.runtime.is_dry_run() and not isinstance(get_monitor(), MockMonitor)


def checks_annotation(checks: Sequence[Check]) -> str:
    """The checks as recorded on the Deployment, so that a rollback verifies a state by its own checks."""
    return json.dumps([check.recorded() for check in checks], separators=(",", ":"))


def verified(
    deployments: Iterable[pulumi.Output[object]],
    checks: Mapping[str, Sequence[Check]],
    ask: Callable[[], Ask],
    timeout_seconds: int,
    *,
    next_step: str,
    recent_logs: Callable[[str], Sequence[str]] = lambda _: (),
) -> pulumi.Output[int]:
    """Resolves to the number of checks once all `deployments` are rolled out and all `checks` pass.

    The checks run at the end of every update, whether or not it changed anything: an after-hook of a failed resource
    does not run again in the next update. Raises RunError, which fails the update; a preview runs none. `recent_logs`
    returns the last log lines of a service whose checks fail.
    """
    total = sum(len(each) for each in checks.values())

    async def verify(_: object) -> int:
        if pulumi.runtime.is_dry_run():
            return total
        try:
            failures = await in_thread(lambda: failing(checks, ask(), timeout_seconds))
        except ClusterError as error:
            raise pulumi.RunError(f"The checks cannot run: {error}") from error
        if failures:
            lines = await in_thread(lambda: list(_with_logs(failures, recent_logs)))
            listed = "\n  ".join(lines)
            raise pulumi.RunError(f"{checks_failed(len(failures), total)}\n  {listed}\n{next_step}")
        return total

    return pulumi.Output.all(*deployments).apply(verify)


def _with_logs(failures: Sequence[str], recent_logs: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Each failure, `service: what`, and after the last of a service its log; only of few services, to fit a screen."""
    services = [failure.partition(":")[0] for failure in failures]
    shown = list(dict.fromkeys(services))[:SERVICES_WITH_LOG]
    for index, (service, failure) in enumerate(zip(services, failures, strict=True)):
        yield failure[:FAILURE_SHOWN]
        if service in shown and service not in services[index + 1 :] and (lines := recent_logs(service)):
            yield f"  log {service}:"
            yield from (f"    | {line[:LINE_SHOWN]}" for line in lines)


def recent_logs(context: str | None, namespace: str) -> Callable[[str], Sequence[str]]:
    """A function that returns the last log lines of a service, or why they cannot be read; it never raises."""

    def read(service: str) -> Sequence[str]:
        try:
            return Cluster.connect(context).log(namespace, service, LOG_LINES_SHOWN)
        except ClusterError as error:
            return [f"(its log cannot be read: {error})"]

    return read
