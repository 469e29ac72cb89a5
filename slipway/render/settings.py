"""What changes in one object, in the words of service.yaml if it has any. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from services.spec import ServiceSpec
from services.workloads import MIGRATION_SUFFIX
from slipway.cluster.checks import CHECKS_ANNOTATION, recorded_checks
from slipway.cluster.diagnosis.model import object_at, objects_at, text_at
from slipway.masking import SECRET, UNKNOWN, as_text
from slipway.state.checkpoint import HASH, MIGRATION_LABEL
from slipway.state.difference import FieldChange, Operation, ResourceChange, path_text

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET_TYPE = "kubernetes:core/v1:Secret"  # noqa: S105
SERVICE = "kubernetes:core/v1:Service"
NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
CRON_JOB = "kubernetes:batch/v1:CronJob"
INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"

_JOB = r"spec\.jobTemplate\.spec\."
_JOB_CONTAINER = rf"{_JOB}template\.spec\.containers\[0\]\."
_POD, _CONTAINER = r"spec\.template\.spec\.", r"spec\.template\.spec\.containers\[0\]\."
_PLACEMENT = "nodeSelector|tolerations|affinity|priorityClassName|hostAliases|dnsPolicy|dnsConfig"
# The suffix by which components/workload.py names the ConfigMap and the Secret of the files that containers mount.
FILES_SUFFIX = ".files"
# How components/workload.py writes each key of service.yaml into the fields of Kubernetes.
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
            rf"{_CONTAINER}(?P<key>command|args)(?P<rest>.*)": "{key}{rest}",
            rf"{_POD}(?P<key>{_PLACEMENT})(?P<rest>\b.*)": "{key}{rest}",
        },
        CRON_JOB: {
            rf"{_JOB_CONTAINER}image": "image",
            rf"{_JOB_CONTAINER}resources\.(limits|requests)\.memory": "resources.memory",
            rf"{_JOB_CONTAINER}resources\.requests\.cpu": "resources.cpu",
            rf'{_JOB_CONTAINER}resources\.(limits|requests)\["ephemeral-storage"\]': "resources.ephemeralStorage",
            rf"{_JOB}template\.spec\.activeDeadlineSeconds": "cronJob.activeDeadlineSeconds",
            rf"{_JOB}backoffLimit": "cronJob.backoffLimit",
            r"spec\.(?P<key>schedule|timeZone|concurrencyPolicy|startingDeadlineSeconds|suspend)": "cronJob.{key}",
            r"spec\.(?P<key>successfulJobsHistoryLimit|failedJobsHistoryLimit)": "cronJob.{key}",
        },
        CONFIG_MAP: {
            r"data\.PORT": "port",
            r"data\.(?P<key>[\w$]+)": "env.{key}",
            r'data\["(?P<key>.+)"\]': "env.{key}",
            r"data": "env",
        },
        f"{CONFIG_MAP}{FILES_SUFFIX}": {
            r"(?:data|binaryData)\.(?P<key>[\w$]+)": "files.{key}",
            r'(?:data|binaryData)\["(?P<key>.+)"\]': "files.{key}",
            r"data|binaryData": "files",
        },
        f"{SECRET_TYPE}{FILES_SUFFIX}": {r"(?:data|stringData)\b.*": "files of secrets"},
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
# Fields whose values `_listed` puts into words from the whole object, with the start of these words.
LISTED: Mapping[str, Sequence[tuple[re.Pattern[str], str]]] = {
    DEPLOYMENT: [
        (re.compile(rf'metadata\.annotations\["{re.escape(CHECKS_ANNOTATION)}"\]'), "checks"),
        (re.compile(rf"{_POD}volumes\b.*|{_CONTAINER}volumeMounts\b.*"), "scratch"),
        (re.compile(rf"{_POD}imagePullSecrets\b.*"), "imagePullSecrets"),
        (re.compile(rf"{_CONTAINER}env\b.*"), "env."),
        (re.compile(rf"{_POD}terminationGracePeriodSeconds"), "rollout.terminationGracePeriodSeconds"),
    ],
    NETWORK_POLICY: [(re.compile(r"spec\b.*"), "")],
}
CALLED_BY = "called by"
KEYS = [each.alias or name for name, each in ServiceSpec.model_fields.items()]
ORDER = ["image", "base image", *KEYS, CALLED_BY]
NAME_LABEL, NAMESPACE_LABEL = "app.kubernetes.io/name", "kubernetes.io/metadata.name"
DNS_PORT = 53
EVERYWHERE = {"0.0.0.0/0", "::/0"}
# A value that is a list or an object is shown leaf by leaf if no more than these change.
MOST_LEAVES = 6
NAME_FIELD = re.compile(r"\b(?:name|secretName)$")
NAME_IN_JSON = re.compile(r'"name": ?"([^"]*)"')
CHANGED = "(changed)"
WORDS_OF_OBJECTS = ("created", "deleted")
"""What happens to an object that service.yaml has no word for."""


@dataclass(frozen=True)
class Setting:
    """A setting that changes: `env.LOG_LEVEL`, or a field by its name in Kubernetes. A missing value is `None`."""

    name: str
    old: str | None
    new: str | None

    @property
    def rank(self) -> tuple[int, str]:
        """In the order of service.yaml; names that are not its keys come last."""
        first = self.name.partition(".")[0]
        return (ORDER.index(first) if first in ORDER else len(ORDER)), self.name


def resource_settings(change: ResourceChange, *, with_names_of_contents: bool = False) -> tuple[Setting, ...]:
    """What changes in one object; names that are hashes of a content only if requested. A preview shows the content
    itself as well, but a drift has nothing else to show.
    """
    if MIGRATION_LABEL in object_at(change.after or change.before, "metadata", "labels"):
        # The command of a migration that is to run: another Job each time, or the same that a rollback suspends.
        old, new = (_command(inputs) for inputs in (change.before, change.after))
        if change.operation in (Operation.CREATE, Operation.REPLACE) and new:
            return (Setting("migration", None, f"runs `{new}`"),)
        return (Setting("migration", old, None),) if change.operation is Operation.DELETE else ()
    if change.operation is Operation.CREATE:
        return tuple(_of_whole_object(change, change.after, new=True))
    if change.operation is Operation.DELETE:
        return tuple(_of_whole_object(change, change.before, new=False))
    type_ = "" if _is_no_services_own(change) else _type(change)
    before, after = _listed(type_, change.before), _listed(type_, change.after)
    found = {
        name: Setting(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    }
    in_lists = [pattern for pattern, start in LISTED.get(type_, ()) if any(name.startswith(start) for name in found)]
    for field in change.fields:
        hidden = is_name_of_content(change, field) and not with_names_of_contents
        if hidden or any(pattern.fullmatch(field.path) for pattern in in_lists):
            continue
        word = _word(type_, field.path)
        for setting in [Setting(word, field.old, field.new)] if word else _in_words_of_kubernetes(change, field):
            found[setting.name] = setting
    return tuple(found.values())


def _command(job: Mapping[str, Any]) -> str:
    spec = object_at(job, "spec")
    container = next(iter(objects_at(spec, "template", "spec", "containers")), {})
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return "" if spec.get("suspend") is True else " ".join(map(str, words)) or UNKNOWN


def _of_whole_object(change: ResourceChange, inputs: Mapping[str, Any], *, new: bool) -> Iterator[Setting]:
    """The settings of a created or deleted object; only that it is so, if service.yaml has no words for it."""
    type_ = _type(change)
    texts = {word: text for path, text in _leaves(inputs, ()) if (word := _word(type_, path))}
    texts |= _listed(type_, inputs)
    if not texts or type_ in (DEPLOYMENT, CRON_JOB, SERVICE) or _is_no_services_own(change):
        yield Setting(_object(change), None, "created" if new else "deleted")
    if new or type_ not in (DEPLOYMENT, CRON_JOB, SERVICE):
        for word, text in {} if _is_no_services_own(change) else texts.items():
            yield Setting(word, None, text) if new else Setting(word, text, None)


def _word(type_: str, path: str) -> str:
    for pattern, word in WORDS.get(type_, ()):
        if found := pattern.fullmatch(path):
            return word.format(**found.groupdict())
    return ""


def _is_no_services_own(change: ResourceChange) -> bool:
    """Whether the object is not one that every service has under its own name."""
    name = change.resource.name
    return not change.service or not {name, HASH.sub("", name)} & set(_own_names(change))


def _own_names(change: ResourceChange) -> tuple[str, str]:
    return change.service, f"{change.service}{FILES_SUFFIX}"


def _type(change: ResourceChange) -> str:
    """The type of the object, with the suffix `.files` if it holds files."""
    suffix = FILES_SUFFIX if HASH.sub("", change.resource.name).endswith(FILES_SUFFIX) else ""
    return change.resource.type + suffix


def _object(change: ResourceChange) -> str:
    """`Service`, or `Service other-name` if its name is not the service's."""
    kind, name = change.resource.kind, HASH.sub("", change.resource.name)
    return f"{kind} {name}" if _is_no_services_own(change) else kind


def within(name: str, change: ResourceChange) -> str:
    """A setting's name without the object, for a place that names the object already."""
    return name.removeprefix(f"{_object(change)} ")


def _in_words_of_kubernetes(change: ResourceChange, field: FieldChange) -> Iterator[Setting]:
    """A field that service.yaml has no word for, leaf by leaf if it is an object or a list."""
    about = _object(change)
    name = f"{about} {field.path.replace('spec.template.spec.', '…', 1)}"
    sides: list[dict[str, str]] = []
    for text in (field.old, field.new):
        value = None
        with suppress(ValueError):  # `slipway.masking.as_text` writes an object or a list as JSON
            value = json.loads(text) if text and text[0] in "[{" else None
        sides.append(dict(_leaves(value, ())) if isinstance(value, dict | list) else {})
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


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    elif path:
        yield path_text(path), as_text(value)


def is_name_of_content(change: ResourceChange, field: FieldChange) -> bool:
    """Whether the field only names a changed content, or refers to a Secret or ConfigMap of such a name.

    Any other value may end like such a name: `release-20261128`.
    """
    stems = {*_own_names(change), f"{change.service}{MIGRATION_SUFFIX}", HASH.sub("", change.resource.name)}
    values = [value for value in (field.old, field.new) if value]
    if values and "envFrom" in field.path:
        names = [name for value in values for name in NAME_IN_JSON.findall(value) or [value]]
    elif len(values) > 1 and NAME_FIELD.search(field.path):
        names = values
    else:
        return False
    return all(HASH.search(name) and HASH.sub("", name) in stems for name in names)


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
