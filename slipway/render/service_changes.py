"""What changes for each service, in the words of service.yaml where it has some, and which pods restart. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.spec import ServiceSpec
from slipway.cluster.checks import CHECKS_ANNOTATION, recorded_checks
from slipway.cluster.diagnosis.objects import object_at, objects_at, text_at
from slipway.deploy.summary import PreviewSummary
from slipway.engine.stages import IMAGE_TYPE
from slipway.masking import SECRET, UNKNOWN, as_text
from slipway.render.groups import by_service, is_hashed
from slipway.render.markdown_text import shortened
from slipway.render.words import commits_text, image_texts
from slipway.state.changes import Operation, ResourceChange
from slipway.state.content_names import HASH
from slipway.state.fields import FieldChange, path_text

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET_TYPE = "kubernetes:core/v1:Secret"  # noqa: S105
SERVICE = "kubernetes:core/v1:Service"
NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet")

_POD, _CONTAINER = r"spec\.template\.spec\.", r"spec\.template\.spec\.containers\[0\]\."
# How components/microservice.py writes each key of service.yaml into the fields of Kubernetes. `""` stands for what
# no reader needs: names that are hashes, and what is always there because of another key.
WORDS: Mapping[str, Sequence[tuple[re.Pattern[str], str]]] = {
    type_: [(re.compile(path), word) for path, word in words.items()]
    for type_, words in {
        DEPLOYMENT: {
            rf"{_CONTAINER}image": "image",
            r"spec\.replicas": "replicas",
            rf"{_CONTAINER}resources\.(limits|requests)\.memory": "resources.memory",
            rf"{_CONTAINER}resources\.requests\.cpu": "resources.cpu",
            rf'{_CONTAINER}resources\.(limits|requests)\["ephemeral-storage"\]': "resources.ephemeralStorage",
            rf"{_CONTAINER}ports\[0\]\.containerPort": "port",
            rf"{_CONTAINER}startupProbe\.httpGet\.path": "health.startup",
            rf"{_CONTAINER}startupProbe\.failureThreshold": "health.startupTimeoutSeconds",
            rf"{_CONTAINER}livenessProbe\.httpGet\.path": "health.live",
            rf"{_CONTAINER}readinessProbe\.httpGet\.path": "health.ready",
            r"spec\.progressDeadlineSeconds": "rollout.progressDeadlineSeconds",
            r"spec\.minReadySeconds": "rollout.minReadySeconds",
        },
        CONFIG_MAP: {
            r"data\.PORT": "port",
            r"data\.(?P<key>[\w$]+)": "env.{key}",
            r'data\["(?P<key>.+)"\]': "env.{key}",
            r"data": "env",
        },
        SECRET_TYPE: {r"(?:data|stringData)\.(?P<key>[\w$]+)": "secrets.{key}", r"data|stringData": "secrets"},
        SERVICE: {r"spec\.type": "service.type", r"spec\.ports\[0\]\.nodePort": "service.nodePort"},
        AUTOSCALER: {
            r"spec\.minReplicas": "autoscaling.minReplicas",
            r"spec\.maxReplicas": "autoscaling.maxReplicas",
            r"spec\.metrics\[0\]\.resource\.target\.averageUtilization": "autoscaling.cpuPercent",
        },
        INGRESS: {
            r"spec\.rules\[0\]\.host": "ingress.host",
            r"spec\.rules\[0\]\.http\.paths\[0\]\.path": "ingress.path",
            r"spec\.ingressClassName": "ingress.className",
            r"spec\.tls\[0\]\.secretName": "ingress.tlsSecretName",
        },
    }.items()
}  # fmt: skip
# Fields whose values `_listed` puts into words from the whole object.
LISTED: Mapping[str, re.Pattern[str]] = {
    DEPLOYMENT: re.compile(
        rf'metadata\.annotations\["{re.escape(CHECKS_ANNOTATION)}"\]|{_POD}volumes\b.*|{_POD}imagePullSecrets\b.*'
        rf"|{_CONTAINER}(?:volumeMounts|env)\b.*|{_POD}terminationGracePeriodSeconds"
    ),
    NETWORK_POLICY: re.compile(r"spec\b.*"),
}
CALLED_BY = "called by"
KEYS = [each.alias or name for name, each in ServiceSpec.model_fields.items()]
ORDER = ["image", "base image", *KEYS, CALLED_BY]
NAME_LABEL, NAMESPACE_LABEL = "app.kubernetes.io/name", "kubernetes.io/metadata.name"
DNS_PORT = 53
EVERYWHERE = {"0.0.0.0/0", "::/0"}
# What of a new service is said besides its image; all of it is in its service.yaml.
SAID_OF_NEW = ("image", "replicas", "resources.memory", "calls", "service.type", "ingress.host")
# A value that is a list or an object is told leaf by leaf where it has no more of them.
MOST_LEAVES = 6
CHANGED = "(changed)"
WORDS_OF_OBJECTS = ("created", "deleted")
"""What becomes of an object that service.yaml has no word for."""


class Fate(StrEnum):
    """What becomes of a service."""

    REMOVED = "removed"
    CHANGED = "changed"
    NEW = "new"


@dataclass(frozen=True)
class Setting:
    """One thing that changes: `env.LOG_LEVEL`, or a field by its name in Kubernetes. `None`: it is not there."""

    name: str
    old: str | None
    new: str | None

    @property
    def rank(self) -> tuple[int, str]:
        """In the order of service.yaml, what is no key of it at the end."""
        first = self.name.partition(".")[0]
        return (ORDER.index(first) if first in ORDER else len(ORDER)), self.name


@dataclass(frozen=True)
class ServiceChanges:
    """A service of which something changes; `service` is empty for what belongs to none.

    `pods` is how many it has afterwards (of one that is removed: before), `None` where an autoscaler decides.
    """

    service: str
    fate: Fate
    settings: tuple[Setting, ...]
    restarts: bool
    pods: int | None
    not_reversible: tuple[str, ...] = ()

    @property
    def likeness(self) -> object:
        """Equal for services of which the same settings change."""
        return self.fate, self.restarts, tuple(setting.name for setting in self.settings)


def service_changes(summary: PreviewSummary) -> tuple[ServiceChanges, ...]:
    """Of every service that a preview would change: those that are removed, changed, new, each in order of names."""
    found = [_of_service(service, changes, summary) for service, changes in by_service(summary.changes)]
    ordered = sorted(filter(None, found), key=lambda each: (list(Fate).index(each.fate), each.service))
    return tuple(ordered)


def _of_service(service: str, changes: Sequence[ResourceChange], summary: PreviewSummary) -> ServiceChanges | None:
    """`None` where nothing but a build changes, which is no change of anything that runs."""
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
    # The address of each service that is called is a variable too.
    settings = {name: each for name, each in settings.items() if not _is_url_of_callee(name, settings.get("calls"))}
    ordered = tuple(sorted(settings.values(), key=lambda setting: setting.rank))
    if workloads and service and operations == {Operation.CREATE}:
        said = tuple(setting for setting in ordered if setting.name in SAID_OF_NEW and setting.new != "ClusterIP")
        return ServiceChanges(service, Fate.NEW, said, restarts=False, pods=pods)
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
    """The image by where it comes from: built from which folders at which commit, or a digest that exists."""
    builds = {change.resource.name: change for change in changes if change.is_build}
    build = builds.get(service)
    commit = commits_text(summary.commits).rpartition("→")[2].strip()
    built = f"built from {_sources(build)}{f' at {commit}' if commit else ''}" if build else ""
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


def resource_settings(change: ResourceChange) -> tuple[Setting, ...]:
    """What changes of one object, without names that are hashes of a content; nothing of images in a Deployment."""
    if change.operation is Operation.CREATE:
        return tuple(_said(change, change.after, new=True))
    if change.operation is Operation.DELETE:
        return tuple(_said(change, change.before, new=False))
    type_ = "" if _is_no_services_own(change) else change.resource.type
    before, after = _listed(type_, change.before), _listed(type_, change.after)
    found = {
        name: Setting(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    }
    pattern, found_in_lists = LISTED.get(type_), bool(found)
    for field in change.fields:
        if is_name_of_content(field) or (found_in_lists and pattern and pattern.fullmatch(field.path)):
            continue
        word = _word(type_, field.path)
        for setting in [Setting(word, field.old, field.new)] if word else _in_words_of_kubernetes(change, field):
            found[setting.name] = setting
    return tuple(found.values())


def _said(change: ResourceChange, inputs: Mapping[str, Any], *, new: bool) -> Iterator[Setting]:
    """What an object says that comes or goes; only that it does, where service.yaml has no words for it."""
    type_ = change.resource.type
    texts = {word: text for path, text in _leaves(inputs, ()) if (word := _word(type_, path))}
    texts |= _listed(type_, inputs)
    if not texts or type_ in (DEPLOYMENT, SERVICE) or _is_no_services_own(change):
        yield Setting(_object(change), None, "created" if new else "deleted")
    if new or type_ not in (DEPLOYMENT, SERVICE):
        for word, text in {} if _is_no_services_own(change) else texts.items():
            yield Setting(word, None, text) if new else Setting(word, text, None)


def _word(type_: str, path: str) -> str:
    for pattern, word in WORDS.get(type_, ()):
        if found := pattern.fullmatch(path):
            return word.format(**found.groupdict())
    return ""


def _is_no_services_own(change: ResourceChange) -> bool:
    """Whether it is another object than those that every service has under its own name."""
    return not change.service or HASH.sub("", change.resource.name) != change.service


def _object(change: ResourceChange) -> str:
    """`Service`, or `Service other-name` for one that is not called as its service is."""
    kind, name = change.resource.kind, HASH.sub("", change.resource.name)
    return f"{kind} {name}" if _is_no_services_own(change) else kind


def within(name: str, change: ResourceChange) -> str:
    """A setting's name where it is clear already of which object it is."""
    return name.removeprefix(f"{_object(change)} ")


def _in_words_of_kubernetes(change: ResourceChange, field: FieldChange) -> Iterator[Setting]:
    """A field that service.yaml has no word for, leaf by leaf where it is an object or a list."""
    about = _object(change)
    name = f"{about} {field.path.replace('spec.template.spec.', '…', 1)}"
    sides = [dict(_json_leaves(value)) for value in (field.old, field.new)]
    paths = dict.fromkeys(path for side in sides for path in side)
    if not paths:
        yield Setting(name, field.old, field.new)
        return
    changed = [path for path in paths if sides[0].get(path) != sides[1].get(path)]
    if not 0 < len(changed) <= MOST_LEAVES:
        old, new = ((CHANGED if value is not None else None) for value in (field.old, field.new))
        yield Setting(name, old, new)
        return
    for path in changed:
        yield Setting(f"{name}{'' if path.startswith('[') else '.'}{path}", sides[0].get(path), sides[1].get(path))


def _json_leaves(text: str | None) -> Iterator[tuple[str, str]]:
    """Of a value that is an object or a list: `slipway.masking.as_text` writes those as JSON."""
    try:
        value = json.loads(text) if text and text[0] in "[{" else None
    except ValueError:
        return
    if isinstance(value, dict | list):
        yield from _leaves(value, ())


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    elif path:
        yield path_text(path), as_text(value)


def is_name_of_content(field: FieldChange) -> bool:
    """Whether it is a name that only says that a content is another, or takes in a Secret or ConfigMap of that name."""
    if is_hashed(field):
        return True
    values = [value for value in (field.old, field.new) if value]
    return bool(values) and "envFrom" in field.path and all(HASH.search(value.rstrip('"}] ')) for value in values)


def _listed(type_: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """The keys of service.yaml that Kubernetes has as lists or with something added, as texts."""
    if type_ == DEPLOYMENT and inputs:
        return {word: text for word, text in _of_deployment(inputs).items() if text}
    if type_ == NETWORK_POLICY and inputs:
        return {word: text for word, text in _of_network_policy(inputs).items() if text}
    return {}


def _of_deployment(inputs: Mapping[str, Any]) -> dict[str, str]:
    pod = object_at(inputs, "spec", "template", "spec")
    container = next(iter(objects_at(pod, "containers")), {})
    sizes = {text_at(each, "name"): text_at(each, "emptyDir", "sizeLimit") for each in objects_at(pod, "volumes")}
    mounts = {text_at(each, "mountPath"): text_at(each, "name") for each in objects_at(container, "volumeMounts")}
    found = {
        "checks": _checks(object_at(inputs, "metadata", "annotations").get(CHECKS_ANNOTATION)),
        "scratch": ", ".join(f"{path}: {sizes[name]}" for path, name in sorted(mounts.items()) if sizes.get(name)),
        "imagePullSecrets": ", ".join(text_at(each, "name") for each in objects_at(pod, "imagePullSecrets")),
    }
    period = pod.get("terminationGracePeriodSeconds")
    drain = object_at(container, "lifecycle", "preStop", "sleep").get("seconds")
    if isinstance(period, int | float) and isinstance(drain, int | float):
        found["rollout.terminationGracePeriodSeconds"] = str(int(period - drain))
    for each in objects_at(container, "env"):
        elsewhere = f"from {', '.join(object_at(each, 'valueFrom'))}"
        found[f"env.{text_at(each, 'name')}"] = as_text(each.get("value", elsewhere))
    return found


def _checks(annotation: object) -> str:
    try:
        checks = recorded_checks(annotation) if isinstance(annotation, str) else []
    except ValueError:
        return SECRET if annotation else ""
    return ", ".join(
        f"{check.method} {check.path} {check.status}"
        + (f" has {check.has}" if check.has else "")
        + "".join(f" {path}={json.dumps(value)}" for path, value in check.json_values.items())
        for check in checks
    )


def _of_network_policy(inputs: Mapping[str, Any]) -> dict[str, str]:
    calls, egress, callers = [], [], []
    for rule in objects_at(inputs, "spec", "egress"):
        ports = [str(each.get("port")) for each in objects_at(rule, "ports")]
        if ports and set(ports) == {str(DNS_PORT)}:
            continue
        peers = [_peer(each) for each in objects_at(rule, "to")]
        if ports:
            ranges = ["any address"] if set(peers) == EVERYWHERE or not peers else peers
            egress += [f"port {'/'.join(ports)} of {' and '.join(ranges)}"]
        else:
            calls += peers
    for rule in objects_at(inputs, "spec", "ingress"):
        callers += [_peer(each) for each in objects_at(rule, "from")] or ["everybody"]
    return {"calls": ", ".join(calls), "egress": ", ".join(egress), CALLED_BY: ", ".join(callers)}


def _peer(peer: Mapping[str, Any]) -> str:
    service = object_at(peer, "podSelector", "matchLabels").get(NAME_LABEL)
    namespace = object_at(peer, "namespaceSelector", "matchLabels").get(NAMESPACE_LABEL)
    addresses = text_at(peer, "ipBlock", "cidr")
    found = [str(service) if service else "", f"namespace {namespace}" if namespace else "", addresses]
    return " of ".join(filter(None, found)) or "others"


def pods_text(changes: ServiceChanges) -> str:
    """What becomes of the service's pods: `its 2 pods restart`; empty where it is no service."""
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
    """Services of which the same settings change together, `smallest` of them or more; each other one alone."""
    groups: dict[object, list[ServiceChanges]] = {}
    for each in changes:
        groups.setdefault(each.likeness if each.service else each, []).append(each)
    parts = ([group] if len(group) >= smallest else [[one] for one in group] for group in groups.values())
    return [part for each in parts for part in each]
