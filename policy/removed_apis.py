"""Which API versions Kubernetes has removed, up to the version that this project's clusters run."""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER_VERSION = "1.34"


@dataclass(frozen=True)
class Removal:
    """The version that removed an API, and the one to use instead."""

    version: str
    instead: str


# https://kubernetes.io/docs/reference/using-api/deprecation-guide/
_BY_VERSION: dict[str, dict[str, tuple[str, str]]] = {
    "1.32": {"flowcontrol.apiserver.k8s.io/v1beta3": ("FlowSchema PriorityLevelConfiguration", "v1")},
    "1.29": {"flowcontrol.apiserver.k8s.io/v1beta2": ("FlowSchema PriorityLevelConfiguration", "v1")},
    "1.27": {"storage.k8s.io/v1beta1": ("CSIStorageCapacity", "v1")},
    "1.26": {
        "flowcontrol.apiserver.k8s.io/v1beta1": ("FlowSchema PriorityLevelConfiguration", "v1"),
        "autoscaling/v2beta2": ("HorizontalPodAutoscaler", "v2"),
    },
    "1.25": {
        "batch/v1beta1": ("CronJob", "v1"),
        "discovery.k8s.io/v1beta1": ("EndpointSlice", "v1"),
        "events.k8s.io/v1beta1": ("Event", "v1"),
        "autoscaling/v2beta1": ("HorizontalPodAutoscaler", "v2"),
        "policy/v1beta1": ("PodDisruptionBudget PodSecurityPolicy", "v1 (Pod Security Admission for policies)"),
        "node.k8s.io/v1beta1": ("RuntimeClass", "v1"),
    },
    "1.22": {
        "admissionregistration.k8s.io/v1beta1": ("MutatingWebhookConfiguration ValidatingWebhookConfiguration", "v1"),
        "apiextensions.k8s.io/v1beta1": ("CustomResourceDefinition", "v1"),
        "apiregistration.k8s.io/v1beta1": ("APIService", "v1"),
        "authentication.k8s.io/v1beta1": ("TokenReview", "v1"),
        "authorization.k8s.io/v1beta1": (
            "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
            "v1",
        ),
        "certificates.k8s.io/v1beta1": ("CertificateSigningRequest", "v1"),
        "coordination.k8s.io/v1beta1": ("Lease", "v1"),
        "extensions/v1beta1": ("Ingress", "networking.k8s.io/v1"),
        "networking.k8s.io/v1beta1": ("Ingress IngressClass", "v1"),
        "rbac.authorization.k8s.io/v1beta1": ("ClusterRole ClusterRoleBinding Role RoleBinding", "v1"),
        "scheduling.k8s.io/v1beta1": ("PriorityClass", "v1"),
        "storage.k8s.io/v1beta1": ("CSIDriver CSINode StorageClass VolumeAttachment", "v1"),
    },
    "1.16": {
        "extensions/v1beta1": (
            "DaemonSet Deployment NetworkPolicy PodSecurityPolicy ReplicaSet",
            "apps/v1, networking.k8s.io/v1",
        ),
        "apps/v1beta1": ("ControllerRevision Deployment StatefulSet", "v1"),
        "apps/v1beta2": ("ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", "v1"),
    },
}
_REMOVALS = {
    (api, kind): Removal(version, instead if "/" in instead else f"{api.partition('/')[0]}/{instead}")
    for version, apis in _BY_VERSION.items()
    for api, (kinds, instead) in apis.items()
    for kind in kinds.split()
}


def removal(group: str, version: str, kind: str) -> Removal | None:
    """The version that removed the kind from that API; `None` if it is still served."""
    return _REMOVALS.get((f"{group}/{version}", kind))
