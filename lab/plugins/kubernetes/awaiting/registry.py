"""Which readiness function a kind has, how long it may take, and which other objects it must see."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from lab.plugins.kubernetes import directives
from lab.plugins.kubernetes.awaiting import networking, others, pods, wait_for, workloads
from lab.plugins.kubernetes.awaiting.readiness import Judge, is_owned_by, labels_match, labels_of, selector_matches
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import Object, mapping_at, text_at

DEFAULT_TIMEOUT_SECONDS = 600.0

Concerns = Callable[[Object], bool]


@dataclass(frozen=True)
class Related:
    """Other objects a readiness function looks at; `concerns(live)` tells which ones."""

    role: str
    target: GroupVersionKind
    concerns: Callable[[Object], Concerns]


@dataclass(frozen=True)
class Rule:
    """How to wait for one kind."""

    judge: Judge
    related: tuple[Related, ...] = ()
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS


def _owned(live: Object) -> Concerns:
    return lambda item: is_owned_by(item, live)


def _selected(live: Object) -> Concerns:
    selector = mapping_at(live, "spec", "selector")
    return lambda item: selector_matches(selector, labels_of(item))


def _slices_of(live: Object) -> Concerns:
    name = text_at(live, "metadata", "name")
    return lambda item: labels_of(item).get(networking.SERVICE_NAME_LABEL) == name


def _running_for(service: Object) -> Concerns:
    selector = mapping_at(service, "spec", "selector")
    return lambda item: labels_match(selector, mapping_at(item, "spec", "template", "metadata", "labels"))


def _served_by(service: Object) -> Concerns:
    selector = mapping_at(service, "spec", "selector")
    return lambda item: labels_match(selector, labels_of(item))


def _all(_live: Object) -> Concerns:
    return lambda _item: True


_PODS_OWNED = Related(workloads.POD_ROLE, GroupVersionKind("", "v1", "Pod"), _owned)
_PODS_SERVED = Related(networking.POD_ROLE, GroupVersionKind("", "v1", "Pod"), _served_by)
_PODS_SELECTED = Related(workloads.POD_ROLE, GroupVersionKind("", "v1", "Pod"), _selected)
_REPLICA_SETS = Related(workloads.REPLICA_SET_ROLE, GroupVersionKind("apps", "v1", "ReplicaSet"), _owned)
_DEPLOYMENTS = Related("deployments", GroupVersionKind("apps", "v1", "Deployment"), _running_for)
_STATEFUL_SETS = Related("statefulsets", GroupVersionKind("apps", "v1", "StatefulSet"), _running_for)
_CLASSES = Related(others.CLASS_ROLE, GroupVersionKind("storage.k8s.io", "v1", "StorageClass"), _all)
_SERVICES = Related(networking.SERVICE_ROLE, GroupVersionKind("", "v1", "Service"), _all)
_SLICE = GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice")
_SLICES_OF = Related(networking.SLICE_ROLE, _SLICE, _slices_of)
_SLICES = Related(networking.SLICE_ROLE, _SLICE, _all)

_RULES: dict[tuple[str, str], Rule] = {
    ("apps", "Deployment"): Rule(workloads.deployment, (_REPLICA_SETS, _PODS_SELECTED)),
    ("apps", "StatefulSet"): Rule(workloads.stateful_set, (_PODS_OWNED,)),
    ("apps", "DaemonSet"): Rule(workloads.daemon_set, (_PODS_OWNED,)),
    ("batch", "Job"): Rule(workloads.job, (_PODS_OWNED,)),
    ("", "Pod"): Rule(pods.pod),
    ("", "ReplicationController"): Rule(workloads.replication_controller, (_PODS_OWNED,)),
    ("", "Service"): Rule(networking.service, (_SLICES_OF, _PODS_SERVED, _DEPLOYMENTS, _STATEFUL_SETS)),
    ("networking.k8s.io", "Ingress"): Rule(networking.ingress, (_SLICES, _SERVICES)),
    ("", "PersistentVolume"): Rule(others.persistent_volume, timeout_seconds=300),
    ("", "PersistentVolumeClaim"): Rule(others.persistent_volume_claim, (_CLASSES,), timeout_seconds=300),
    ("", "ResourceQuota"): Rule(others.resource_quota, timeout_seconds=60),
    ("", "Secret"): Rule(others.secret, timeout_seconds=30),
    ("", "Namespace"): Rule(others.namespace, timeout_seconds=60),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Rule(others.custom_resource_definition, timeout_seconds=60),
}


def rule_for(target: GroupVersionKind, inputs: Object) -> Rule | None:
    """How to wait for an object with these inputs, or `None` where there is nothing to wait for."""
    if directives.is_true(inputs, directives.SKIP_AWAIT):
        return None
    if told := directives.value(inputs, directives.WAIT_FOR):
        return Rule(wait_for.parse(told))
    rule = _RULES.get((target.group, target.kind))
    if rule is None and os.environ.get("PULUMI_K8S_AWAIT_ALL") == "true":
        return Rule(others.anything)
    return rule
