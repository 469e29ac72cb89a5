"""Annotations that tell the provider how to treat an object; the program sets them, and so does a rollback.

https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/#pulumi-kubernetes-annotations
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.state.checkpoint import ResourceState

DEPLOYMENT_TYPE = "kubernetes:apps/v1:Deployment"
NAMESPACE_TYPE = "kubernetes:core/v1:Namespace"
# The program owns all declared fields, even if another client has set them since. Otherwise, after a `kubectl scale`,
# every update and rollback would end in a field conflict.
PATCH_FORCE = {"pulumi.com/patchForce": "true"}
# An Ingress or a load balancer may never get an address; that is no failure. A claim that is never bound keeps its pod
# from being scheduled; the diagnosis of the rollout reports that.
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
# The program waits for the rollout itself. Unlike with `skipAwait`, the provider still waits until a Deployment is
# deleted, so that its replacement is not applied to the object that is being deleted.
APPLIED_IS_ENOUGH = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
AWAIT = {
    DEPLOYMENT_TYPE: APPLIED_IS_ENOUGH,
    "kubernetes:core/v1:Service": SKIP_AWAIT,
    "kubernetes:core/v1:PersistentVolumeClaim": SKIP_AWAIT,
    "kubernetes:networking.k8s.io/v1:Ingress": SKIP_AWAIT,
}
HELM_PREFIX = f"{KUBERNETES_PREFIX}helm.sh/"


def directives(type_: str) -> dict[str, str]:
    """The annotations of an object of that type; empty if it is no Kubernetes object."""
    if not type_.startswith(KUBERNETES_PREFIX) or type_.startswith(HELM_PREFIX):
        return {}
    return PATCH_FORCE | AWAIT.get(type_, {})


def directed(resource: ResourceState) -> ResourceState:
    """A recorded object with these annotations among its inputs, as the program declares them today."""
    metadata, required = resource.inputs.get("metadata"), directives(resource.type)
    if not required or not isinstance(metadata, Mapping):
        return resource
    annotations: Mapping[str, Any] = metadata.get("annotations") or {}
    inputs = {**resource.inputs, "metadata": {**metadata, "annotations": {**annotations, **required}}}
    return ResourceState({**resource.raw, "inputs": inputs})
