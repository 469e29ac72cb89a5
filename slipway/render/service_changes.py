"""What changes for each service, which of its pods restart, and what a rollback cannot restore. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slipway.cluster.diagnosis.objects import object_at, text_at
from slipway.deploy.summary import PreviewSummary
from slipway.engine.stages import IMAGE_TYPE
from slipway.masking import UNKNOWN
from slipway.render.groups import by_service
from slipway.render.markdown_text import shortened
from slipway.render.settings import SERVICE, Setting, resource_settings
from slipway.render.words import commits_text, image_texts
from slipway.state.difference import Operation, ResourceChange

WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
# The provider's hash of the files on disk: https://www.pulumi.com/registry/packages/docker-build/api-docs/image/
CONTEXT_HASH = "contextHash"
# The settings shown for a new service; its service.yaml has all.
KEYS_OF_NEW = ("image", "cronJob.schedule", "replicas", "resources.memory", "calls", "service.type", "ingress.host")


class Fate(StrEnum):
    """What happens to a service."""

    REMOVED = "removed"
    CHANGED = "changed"
    NEW = "new"


@dataclass(frozen=True)
class ServiceChanges:
    """A service that changes; `service` is empty for changes that belong to none.

    `pods` is its number of pods afterwards (of a removed service: before), `None` if an autoscaler decides.
    """

    service: str
    fate: Fate
    settings: tuple[Setting, ...]
    restarts: bool
    pods: int | None
    not_reversible: tuple[str, ...] = ()

    @property
    def likeness(self) -> object:
        """Equal for services with the same changed settings."""
        return self.fate, self.restarts, tuple(setting.name for setting in self.settings)


def service_changes(summary: PreviewSummary) -> tuple[ServiceChanges, ...]:
    """The changes of every service in a preview: removed, changed, and new services, each in order of names."""
    found = [_of_service(service, changes, summary) for service, changes in by_service(summary.changes)]
    ordered = sorted(filter(None, found), key=lambda each: (list(Fate).index(each.fate), each.service))
    return tuple(ordered)


def _of_service(service: str, changes: Sequence[ResourceChange], summary: PreviewSummary) -> ServiceChanges | None:
    """`None` if only a build changes: nothing that runs is affected."""
    objects = [change for change in changes if change.resource.type != IMAGE_TYPE]
    workloads = [change for change in objects if change.resource.kind in WITH_PODS]
    lost = tuple(text for change in objects for text in _not_reversible(change))
    operations = {change.operation for change in objects}
    pods = _pods(workloads)
    if not objects:
        return None
    if workloads and service and operations == {Operation.DELETE}:
        return ServiceChanges(service, Fate.REMOVED, (), restarts=False, pods=pods, not_reversible=lost)
    settings = {setting.name: setting for change in objects for setting in resource_settings(change)}
    settings |= {setting.name: setting for setting in _image_settings(service, changes, summary)}
    # The address of each called service is a variable too.
    settings = {name: each for name, each in settings.items() if not _is_url_of_callee(name, settings.get("calls"))}
    ordered = tuple(sorted(settings.values(), key=lambda setting: setting.rank))
    if workloads and service and operations == {Operation.CREATE}:
        shown = tuple(setting for setting in ordered if setting.name in KEYS_OF_NEW and setting.new != "ClusterIP")
        return ServiceChanges(service, Fate.NEW, shown, restarts=False, pods=pods)
    return ServiceChanges(service, Fate.CHANGED, ordered, any(map(_restarts, workloads)), pods, lost)


def _restarts(change: ResourceChange) -> bool:
    """A changed pod template is a rollout: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"""
    changed = any(field.path.startswith("spec.template") for field in change.fields)
    return change.operation is Operation.REPLACE or (change.operation is Operation.UPDATE and changed)


def _pods(workloads: Sequence[ResourceChange]) -> int | None:
    numbers = [(change.after or change.before).get("spec", {}).get("replicas") for change in workloads]
    known = [int(number) for number in numbers if isinstance(number, int | float)]
    return sum(known) if known and len(known) == len(numbers) else None


def _not_reversible(change: ResourceChange) -> Iterator[str]:
    if change.loses_data:
        yield f"`{change.resource}` is deleted, and what is stored in it goes with it."
    elif change.operation is Operation.REPLACE and change.deleted_first:
        fields = ", ".join(f"`{field.path}`" for field in change.fields if field.replaces)
        why = f", since {fields} cannot be changed" if fields else ""
        yield f"`{change.resource}` is deleted before it is made anew{why}: it is gone in between."
    elif change.resource.type == SERVICE and _has_address(change.before) and not _has_address(change.after):
        yield f"`{change.resource}` gives up the address of its load balancer; a later one gets another."


def _has_address(service: Mapping[str, Any]) -> bool:
    return text_at(service, "spec", "type") == "LoadBalancer"


def _image_settings(service: str, changes: Sequence[ResourceChange], summary: PreviewSummary) -> Iterator[Setting]:
    """The image with its source: the folders and the commit of its build, or an existing digest."""
    builds = {change.resource.name: change for change in changes if change.is_build}
    build = builds.get(service)
    commit = commits_text(summary.commits).rpartition("→")[2].strip()
    built = f"built from {_sources(build)}{f' at {commit}' if commit else ''}" if build else ""
    if build and build.operation is Operation.UPDATE and {field.path for field in build.fields} == {CONTEXT_HASH}:
        # The tag says that the content is the same; the provider hashes whole modes, of which git keeps one bit.
        built = f"built again from {_sources(build)}: of its files only modes have changed, as another umask does"
    if image := next((each for each in summary.images if each.service == service), None):
        old, new = image_texts(image)
        yield Setting("image", old or None, built if built and image.new == UNKNOWN else new)
    elif built and build and build.operation is Operation.CREATE:
        yield Setting("image", None, built)
    bases = [field for field in build.fields if field.path == "buildArgs.BASE_IMAGE"] if build else []
    for base in bases:
        if base.old and base.new:
            yield Setting("base image", shortened(base.old), shortened(base.new))


def _sources(build: ResourceChange) -> str:
    context = object_at(build.after, "context")
    named = [text_at(each, "location") for each in object_at(context, "named").values() if isinstance(each, Mapping)]
    return " and ".join(filter(None, (text_at(context, "location"), *named))) or "its sources"


def _is_url_of_callee(name: str, calls: Setting | None) -> bool:
    called = {each.strip() for text in (calls.old, calls.new) for each in (text or "").split(",")} if calls else set()
    return any(each and name == f"env.{each.upper().replace('-', '_')}_URL" for each in called)


def pods_text(changes: ServiceChanges) -> str:
    """What happens to the service's pods: `its 2 pods restart`; empty if it is no service."""
    if not changes.service:
        return ""
    number = changes.pods
    pods = "its pods" if number is None else "its pod" if number == 1 else f"its {number} pods"
    one = number == 1
    if changes.fate is Fate.REMOVED:
        return "removed" if number == 0 else f"removed, {pods} {'ends' if one else 'end'}"
    if changes.fate is Fate.NEW:
        return "new" if number is None else f"new, {number} {'pod' if one else 'pods'}"
    if number == 0:
        return "it has no pods"
    return f"{pods} {'restarts' if one else 'restart'}" if changes.restarts else "no pod restarts"


def alike(changes: Iterable[ServiceChanges], smallest: int) -> list[list[ServiceChanges]]:
    """Groups of `smallest` or more services with the same changed settings; every other service alone."""
    groups: dict[object, list[ServiceChanges]] = {}
    for each in changes:
        groups.setdefault(each.likeness if each.service else each, []).append(each)
    parts = ([group] if len(group) >= smallest else [[one] for one in group] for group in groups.values())
    return [part for each in parts for part in each]
