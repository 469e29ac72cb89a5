"""The three steps of an update over all services: build, deploy, verify."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi import Output, ResourceOptions

from components.cron_job import CronJob
from components.environment import Environment
from components.health import recent_logs, verified
from components.microservice import Microservice, MicroserviceArgs, Workload
from components.outputs import after
from components.service_image import DOCKERFILE, PromotedImage, ServiceImage, ServiceImageArgs, context_problems
from components.settings import configuration_error
from components.worker import Worker
from services.workloads import Kind
from slipway.cluster.checks import ready_pods

KINDS: Mapping[Kind, type[Workload]] = {"Service": Microservice, "Worker": Worker, "CronJob": CronJob}


def release(environment: Environment) -> dict[str, Any]:
    """The stack's outputs: the number of checks met, what each service runs, and where it answers if it has a port."""
    images = build(environment)
    workloads = deploy(environment, images)
    services: dict[str, dict[str, Output[str]]] = {
        name: {**({"url": each.url} if each.url else {}), "image": images[name].reference}
        for name, each in workloads.items()
    }
    return {"checks": verify(environment, workloads), "services": services}


def build(environment: Environment) -> dict[str, ServiceImage | PromotedImage]:
    """An image for each service, by service name: built, or where `slipway:build` is false, promoted.

    RunError where the files of one cannot be built.
    """
    if not environment.settings.build:
        return {
            service.name: PromotedImage(
                service.name, environment.repository(service), environment.settings.images[service.name]
            )
            for service in environment.services
        }
    problems = [
        problem
        for service in environment.services
        for problem in context_problems([service.folder, *service.contexts.values()], service.folder / DOCKERFILE)
    ]
    if problems:
        raise configuration_error(dict.fromkeys(problems))
    base_image = environment.base_image()
    return {
        service.name: ServiceImage(
            service.name,
            ServiceImageArgs(
                context=service.folder,
                repository=environment.repository(service),
                base_image=base_image,
                platforms=environment.settings.platforms,
                named_contexts=service.contexts,
            ),
            ResourceOptions(providers=[environment.docker_build]),
        )
        for service in environment.services
    }


def deploy(environment: Environment, images: Mapping[str, ServiceImage | PromotedImage]) -> dict[str, Workload]:
    """Every service in the environment, by service name; nothing is deployed before everything is built."""
    namespace = after(environment.namespace, (image.reference for image in images.values()))
    deployed: dict[str, Workload] = {}
    for service in environment.services:
        spec = service.spec
        deployed[service.name] = KINDS[spec.kind](
            service.name,
            MicroserviceArgs(
                spec=spec,
                image=images[service.name].reference,
                namespace=namespace,
                secrets=environment.secrets[service.name],
                callees=[deployed[callee] for callee in spec.calls],
                rollouts=environment.rollouts,
                migrations=environment.migrations if spec.migration else None,
                image_pull_secrets=environment.settings.image_pull_secrets,
                callers=[other.name for other in environment.services if service.name in other.spec.calls],
                metrics_from=environment.settings.metrics_from,
            ),
            ResourceOptions(providers=[environment.kubernetes]),
        )
    return deployed


def verify(environment: Environment, workloads: Mapping[str, Workload]) -> Output[int]:
    """Asks every service's checks once all of them are rolled out; a failing check fails the update."""
    settings = environment.settings
    checks = {service.name: service.spec.active_checks for service in environment.services}
    return verified(
        [workload.rolled_out for workload in workloads.values()],
        checks,
        ready_pods(settings.context, settings.namespace.name),
        settings.checks_timeout_seconds,
        next_step=f"Look with `kubectl -n {settings.namespace.name} logs deployment/NAME`, then run the update again.",
        recent_logs=recent_logs(settings.context, settings.namespace.name),
    )
