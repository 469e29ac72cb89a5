"""What changes for each service or group of alike objects, how a preview ended, and what no rollback restores. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from slipway.cluster.diagnosis.model import object_at, text_at
from slipway.deploy.summary import ImageChange, PreviewResult, PreviewSummary
from slipway.engine.stages import IMAGE_TYPE, KUBERNETES_PREFIX
from slipway.masking import UNKNOWN
from slipway.render.markdown_text import shortened, some_of
from slipway.render.settings import SERVICE, Setting, resource_settings
from slipway.render.words import commits_text, counted, image_texts
from slipway.state.difference import FieldChange, Operation, ResourceChange

WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
# The provider's hash of the files on disk: https://www.pulumi.com/registry/packages/docker-build/api-docs/image/
CONTEXT_HASH = "contextHash"
# The settings shown for a new service; its service.yaml has all.
KEYS_OF_NEW = ("image", "cronJob.schedule", "replicas", "resources.memory", "calls", "service.type", "ingress.host")
NAMED_RESTARTS = 6
OUTSIDE = "outside any service"
SMALLEST_GROUP = 4
# At most this many different values are shown in one line.
FEW_VALUES = 3


class Fate(StrEnum):
    """What happens to a service."""

    REMOVED = "removed"
    CHANGED = "changed"
    NEW = "new"


FATES = {
    Fate.REMOVED: ("is removed", "are removed"),
    Fate.CHANGED: ("changes", "change"),
    Fate.NEW: ("is new", "are new"),
}


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


@dataclass(frozen=True)
class ChangeGroup:
    """Resources of one kind with the same changed fields; a lone resource is a group of one.

    `fields` are those of the first resource; `varying` are the paths whose values differ between resources.
    """

    changes: tuple[ResourceChange, ...]
    fields: tuple[FieldChange, ...]
    varying: frozenset[str] = frozenset()

    def values(self, path: str) -> Counter[tuple[str | None, str | None]]:
        """The pairs of old and new value at `path` with the number of resources that have each, most frequent first."""
        fields = (field for change in self.changes for field in change.fields if field.path == path)
        counted = Counter((field.old, field.new) for field in fields)
        return Counter(dict(counted.most_common()))

    @property
    def first(self) -> ResourceChange:
        return self.changes[0]


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
    calls = settings.get("calls")
    called = {each.strip() for text in (calls.old, calls.new) for each in (text or "").split(",")} if calls else set()
    addresses = {f"env.{each.upper().replace('-', '_')}_URL" for each in called if each}
    shown = [each for name, each in settings.items() if name not in addresses]
    ordered = tuple(sorted(shown, key=lambda setting: setting.rank))
    if workloads and service and operations == {Operation.CREATE}:
        keys = tuple(setting for setting in ordered if setting.name in KEYS_OF_NEW and setting.new != "ClusterIP")
        return ServiceChanges(service, Fate.NEW, keys, restarts=False, pods=pods)
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
        # A build that runs its tests in the same Dockerfile runs in a preview too, and its digest is known then.
        known = [] if built and image.new == UNKNOWN else [new]
        yield Setting("image", old or None, ", ".join([*known, built] if built else known))
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


def by_service(changes: Iterable[ResourceChange]) -> list[tuple[str, list[ResourceChange]]]:
    """Changes under their service's name, in order of names; changes of no service come first."""
    ordered = sorted(changes, key=lambda change: (change.service, change.resource.kind, change.resource.name))
    return [(service, list(group)) for service, group in groupby(ordered, key=lambda change: change.service)]


def alike(changes: Iterable[ServiceChanges], smallest: int) -> list[list[ServiceChanges]]:
    """Groups of `smallest` or more services with the same changed settings; every other service alone."""
    groups: dict[object, list[ServiceChanges]] = {}
    for each in changes:
        groups.setdefault(each.likeness if each.service else each, []).append(each)
    parts = ([group] if len(group) >= smallest else [[one] for one in group] for group in groups.values())
    return [part for each in parts for part in each]


def grouped(changes: Iterable[ResourceChange]) -> list[ChangeGroup]:
    """Groups in the order of the changes; fewer than SMALLEST_GROUP alike changes stay separate."""
    groups: dict[object, list[ResourceChange]] = {}
    for change in changes:
        shapes = tuple((field.path, field.kind, field.replaces) for field in change.fields)
        likeness = change.operation, change.resource.type, change.deleted_first, change.kept, shapes
        groups.setdefault(likeness, []).append(change)
    found: list[ChangeGroup] = []
    for same in groups.values():
        if len(same) < SMALLEST_GROUP:
            found += [ChangeGroup((change,), change.fields) for change in same]
            continue
        fields = same[0].fields
        varying = frozenset(
            field.path
            for index, field in enumerate(fields)
            if len({(change.fields[index].old, change.fields[index].new) for change in same}) > 1
        )
        found.append(ChangeGroup(tuple(same), fields, varying))
    return found


def image_changes(changes: Iterable[ResourceChange]) -> tuple[ImageChange, ...]:
    """One for each container whose image changes, with the new tag of its service's build, if there is one."""
    changes = tuple(changes)
    tags: dict[str, str] = {}
    for build in (change for change in changes if change.resource.type == IMAGE_TYPE):
        new = [field.new or "" for field in build.fields if field.path.startswith("tags") and field.new is not None]
        first = next((reference for reference in new if reference != UNKNOWN), "")
        if tag := first.rsplit("/", 1)[-1].partition(":")[2]:
            tags[build.service] = tag
    return tuple(
        ImageChange(change.resource, change.service, field.old or "", field.new or "", tags.get(change.service, ""))
        for change in sorted(changes, key=lambda change: change.resource.name)
        if change.resource.type.startswith(KUBERNETES_PREFIX)
        for field in change.fields
        if field.path.rsplit(".", 1)[-1] == "image" and ".containers" in field.path
    )


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


def restarts_text(changes: Sequence[ServiceChanges], services: Sequence[str], most: int = NAMED_RESTARTS) -> str:
    """Which pods restart, and that no others do: `order-service (2 pods); no pod of the other 48 services.`"""
    restarting = [each for each in changes if each.restarts and each.pods != 0]
    others = len(set(services) - {each.service for each in restarting})
    if not restarting:
        return "No pod restarts."
    pods = [f" ({counted(each.pods, 'pod')})" if each.pods is not None else "" for each in restarting]
    names = [f"{each.service or OUTSIDE}{number}" for each, number in zip(restarting, pods, strict=True)]
    rest = f"; no pod of the other {counted(others, 'service') if others > 1 else 'service'}" if others else ""
    return f"Pods restart: {some_of(names, most)}{rest}."


def verdict(summary: PreviewSummary) -> str:
    """How it ended, in a few words."""
    refusals = len(summary.refusals())
    if summary.result is PreviewResult.REFUSED:
        return f"refused by policy, {counted(refusals, 'mandatory violation')}"
    if summary.result is PreviewResult.FAILED:
        also = f", and {counted(refusals, 'mandatory policy violation')}" if refusals else ""
        return f"failed{also}"
    if summary.result is PreviewResult.INTERRUPTED:
        return "interrupted"
    drifted = f"; {counted(len(summary.drift), 'object')} drifted from the state" if summary.drift else ""
    return f"{counts(summary)}{drifted}"


def symbol(summary: PreviewSummary) -> str:
    """❌ if it may not happen, ⚠️ if something is deleted or has drifted, or if nothing was checked."""
    if summary.result is not PreviewResult.SUCCEEDED:
        return "❌"
    lost = any(not change.kept for change in summary.of(Operation.DELETE))
    risky = lost or any(change.deleted_first for change in summary.changes) or summary.drift or not summary.rules
    return "⚠️" if risky else "✅"


def counts(summary: PreviewSummary) -> str:
    """`2 services change, 1 service is new, 1 other object changes`."""
    changes = service_changes(summary)
    fates = Counter(each.fate for each in changes if each.service)
    parts = [f"{counted(fates[fate], 'service')} {FATES[fate][fates[fate] != 1]}" for fate in Fate if fates[fate]]
    others = sum(not change.service and change.resource.type != IMAGE_TYPE for change in summary.changes)
    if others:
        parts.append(f"{counted(others, 'other object')} {FATES[Fate.CHANGED][others != 1]}")
    return ", ".join(parts) or "nothing changes in the cluster" * bool(summary.built()) or "nothing to do"
