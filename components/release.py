"""The three steps of an update over all services: build, deploy, verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pulumi
from pulumi import Output, ResourceOptions

from components.environment import Environment, declare_limits
from components.kinds import CronJob, Microservice, Worker
from components.kubernetes_defaults import object_labels
from components.program import after
from components.rollouts import recent_logs, verified
from components.service_image import (
    DOCKERFILE,
    PrebuiltImage,
    PromotedImage,
    ServiceImage,
    ServiceImageArgs,
    context_problems,
    ssh_problem,
)
from components.service_resources import Service
from components.settings import configuration_error
from components.workload import Workload, WorkloadArgs
from services.workloads import Kind
from slipway.cluster.checks import ready_pods

AnyImage: TypeAlias = ServiceImage | PromotedImage | PrebuiltImage
KINDS: Mapping[Kind, Callable[..., Workload]] = {"Service": Microservice, "Worker": Worker, "CronJob": CronJob}


def release(environment: Environment) -> dict[str, Any]:
    """The stack's outputs: the number of checks that passed, each service's image, and its URL if it has a port."""
    images = build(environment)
    environment.images = [image.reference for image in images.values()]
    workloads = deploy(environment, images)
    declare_resources(environment, images, workloads)
    services: dict[str, Any] = {
        **environment.undeclared_outputs(),
        **{
            name: {**({"url": each.url} if each.url else {}), "image": images[name].reference}
            for name, each in workloads.items()
        },
    }
    return {"checks": verify(environment, workloads), "services": services}


def build(environment: Environment) -> dict[str, AnyImage]:
    """An image for each service, by service name: built, promoted if `slipway:build` is false, or the one that its
    service.yaml names.

    Raises RunError if the files of a service cannot be built.
    """
    settings = environment.settings
    built = [service for service in environment.declared if settings.build and not service.spec.image]
    problems = [
        problem
        for service in built
        for problem in context_problems([service.context, *service.contexts.values()], service.dockerfile)
    ]
    problems += [f"{service.name}: {problem}" for service in built if (problem := ssh_problem(service.spec.build))]
    if problems:
        raise configuration_error(dict.fromkeys(problems))
    base_image = environment.base_image() if built else ""
    images: dict[str, AnyImage] = {}
    for service in environment.declared:
        name, spec, repository = service.name, service.spec, settings.repository(service.name)
        if spec.image:
            images[name] = PrebuiltImage(name, spec.image)
        elif not settings.build:
            images[name] = PromotedImage(name, repository, settings.images[name])
        else:
            own = service.context / DOCKERFILE
            args = ServiceImageArgs(
                context=service.context,
                repository=repository,
                base_image=base_image,
                platforms=spec.build.platforms or settings.platforms,
                named_contexts=service.contexts,
                dockerfile=None if service.dockerfile == own else service.dockerfile,
                build=spec.build,
                secrets={each: environment.secrets[name][each] for each in spec.build.secrets},
                cache=settings.build_cache == "registry",
            )
            images[name] = ServiceImage(name, args, ResourceOptions(providers=[environment.docker_build]))
    return images


def deploy(environment: Environment, images: Mapping[str, AnyImage]) -> dict[str, Workload]:
    """Deploys all services and returns them by service name; nothing is deployed before all images are built."""
    limits = declare_limits(environment)
    namespace = after(environment.namespace, [*(image.reference for image in images.values()), *limits])
    deployed: dict[str, Workload] = {}
    for service in environment.declared:
        spec = service.spec
        deployed[service.name] = KINDS[spec.kind](
            service.name,
            WorkloadArgs(
                spec=spec,
                image=images[service.name].reference,
                namespace=namespace,
                secrets={each: environment.secrets[service.name][each] for each in spec.secret_names},
                callees=[deployed[callee] for callee in spec.calls],
                rollouts=environment.rollouts,
                migrations=environment.migrations if spec.migration else None,
                image_pull_secrets=environment.settings.image_pull_secrets,
                callers=[other.name for other in environment.services if service.name in other.spec.calls],
                metrics_from=environment.settings.metrics_from,
                files=service.files,
            ),
            ResourceOptions(providers=[environment.kubernetes]),
        )
    return deployed


def declare_resources(
    environment: Environment,
    images: Mapping[str, AnyImage],
    components: Mapping[str, pulumi.ComponentResource],
) -> None:
    """Declares the resources of the services' own `resources.py`; raises RunError if one of them is wrong."""
    environment.resources.declare(
        (
            service,
            Service(
                name=service.name,
                component=components[service.name],
                provider=environment.kubernetes,
                namespace=environment.after_builds(environment.namespace),
                labels=object_labels(service.name),
                image=images[service.name].reference,
                spec=service.spec,
                folder=service.folder,
            ),
        )
        for service in environment.declared
    )


def verify(environment: Environment, workloads: Mapping[str, Workload]) -> Output[int]:
    """Runs every service's checks once all services are rolled out; a failing check fails the update."""
    settings = environment.settings
    checks = {service.name: service.spec.active_checks for service in environment.services}
    return verified(
        [
            *(workload.rolled_out for workload in workloads.values()),
            environment.undeclared_rollouts(),
            environment.own_rollouts(),
        ],
        checks,
        ready_pods(settings.context, settings.namespace.name),
        settings.checks_timeout_seconds,
        next_step=f"Look with `kubectl -n {settings.namespace.name} logs deployment/NAME`, then run the update again.",
        recent_logs=recent_logs(settings.context, settings.namespace.name),
    )
