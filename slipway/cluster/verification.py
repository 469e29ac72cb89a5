"""Whether the deployed services are as the state says, and work: rollouts, images in running pods, checks. Pure: the
cluster's answers are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.spec import Check
from slipway.cluster.checks import CHECKS_ANNOTATION, recorded_checks
from slipway.cluster.deployed import metadata
from slipway.cluster.diagnosis import Evidence, is_complete
from slipway.cluster.diagnosis.objects import Object, number_at, object_at, objects_at, text_at
from slipway.state.checkpoint import ResourceState
from slipway.state.directives import DEPLOYMENT_TYPE

DIGEST = "@sha256:"


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


def recorded_deployments(recorded: Iterable[ResourceState]) -> list[RecordedDeployment]:
    """The Deployments in order of names."""
    found = [_recorded_deployment(each) for each in recorded if each.type == DEPLOYMENT_TYPE]
    return sorted(found, key=lambda each: (each.namespace, each.name))


def _recorded_deployment(resource: ResourceState) -> RecordedDeployment:
    about = metadata(resource)
    name, namespace = str(about.get("name", resource.name)), str(about.get("namespace", "default"))
    annotations = about.get("annotations")
    text = annotations.get(CHECKS_ANNOTATION) if isinstance(annotations, Mapping) else None
    checks, problem = [], ""
    try:
        checks = recorded_checks(text) if isinstance(text, str) else []
    except ValueError as error:
        problem = f"the checks recorded on it cannot be read: {error}"
    replicas = object_at(resource.inputs, "spec").get("replicas")
    desired = int(replicas) if isinstance(replicas, int | float) else None
    images = images_by_container(object_at(resource.inputs, "spec", "template", "spec"))
    return RecordedDeployment(name, namespace, resource.service or name, desired, images, tuple(checks), problem)


def verdict(
    recorded: RecordedDeployment, found: Evidence | None, why_incomplete: str, failing: Sequence[str]
) -> ServiceVerdict:
    """`found` is `None` if the cluster has no such Deployment; `failing` are the checks that were not met."""
    if found is None:
        problems: list[str] = ["its Deployment is gone from the cluster"]
    else:
        problems = [*_rollout(recorded, found, why_incomplete), *_wrong_images(recorded, found)]
    problems += [recorded.problem] if recorded.problem else []
    live = found.deployment if found else {}
    return ServiceVerdict(
        recorded.service,
        recorded.namespace,
        number_at(live, "spec", "replicas", default=recorded.replicas or 1),
        number_at(live, "status", "availableReplicas"),
        tuple(recorded.images.values()),
        len(recorded.checks),
        (*problems, *(f"check failed: {line.removeprefix(f'{recorded.name}: ')}" for line in failing)),
    )


def _rollout(recorded: RecordedDeployment, found: Evidence, why: str) -> Iterator[str]:
    live = found.deployment
    desired = number_at(live, "spec", "replicas", default=1)
    if recorded.replicas is not None and recorded.replicas != desired:
        yield f"the Deployment in the cluster has {desired} replicas, the state says {recorded.replicas}"
    if is_complete(found):
        return
    seen, generation = number_at(live, "status", "observedGeneration"), number_at(live, "metadata", "generation")
    if seen < generation:
        yield f"the cluster has not started its last change yet (generation {generation}, seen {seen})"
        return
    updated, available = (number_at(live, "status", key) for key in ("updatedReplicas", "availableReplicas"))
    yield f"its rollout is not complete: {updated} of {desired} pods updated, {available} available" + (
        f": {why}" if why else ""
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
