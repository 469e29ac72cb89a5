"""Which autoscaler scales a workload, and its fewest pods."""

from __future__ import annotations

from policy.declaration import Resource
from policy.labels import is_object, object_name
from policy.stack import DeclaredStack
from policy.view import View, all_known, known_matches

SCALED_KINDS = ("Deployment", "StatefulSet", "ReplicaSet")


def fewest_replicas(workload: View, stack: DeclaredStack) -> View:
    """The fewest pods that the workload has: its autoscaler's minReplicas if it has one, or its replicas."""
    scalers = stack.where("HorizontalPodAutoscaler", object_name(workload.resource), "spec", "scaleTargetRef", "name")
    found = known_matches(scalers, lambda scaler: _scales(scaler, workload.resource))
    return View.of(found[0]).at("spec", "minReplicas") if found else workload.at("spec", "replicas")


def scaled_by(scaler: View, stack: DeclaredStack) -> list[Resource]:
    """The workloads of the stack that a HorizontalPodAutoscaler scales."""
    name = scaler.at("spec", "scaleTargetRef", "name")
    workloads = [each for kind in SCALED_KINDS for each in stack.where(kind, name, "metadata", "name")]
    return known_matches(workloads, lambda workload: _scales(scaler.resource, workload))


def _scales(scaler: Resource, workload: Resource) -> bool:
    target = View.of(scaler).at("spec", "scaleTargetRef")
    return all_known(
        (
            lambda: target.at("kind").text() == workload.kind,
            lambda: is_object(workload, target.at("name"), scaler),
        )
    )
