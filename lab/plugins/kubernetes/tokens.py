"""What a Pulumi type token such as `kubernetes:apps/v1:Deployment` says: API group, version and kind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lab.plugins.kubernetes import OFFICIAL_PLUGIN
from lab.plugins.serving import PluginError

PACKAGE = "kubernetes"

# The API groups of the SDK's own classes; any other group belongs to a CustomResourceDefinition.
BUILT_IN_GROUPS = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "auditregistration.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "lifecycle.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "settings.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)


def words(text: str) -> frozenset[str]:
    """The words of a table kept as text."""
    return frozenset(text.split())


# Kinds of built-in groups that need no look-up on the server, as in pulumi-kubernetes' kinds.Namespaced.
NAMESPACED_KINDS = words(
    "Binding ConfigMap ControllerRevision CronJob CSIStorageCapacity DaemonSet Deployment Endpoints "
    "EndpointSlice Event HorizontalPodAutoscaler Ingress Job Lease LimitRange NetworkPolicy "
    "PersistentVolumeClaim Pod PodDisruptionBudget PodTemplate ReplicaSet ReplicationController "
    "ResourceQuota Role RoleBinding Secret Service ServiceAccount StatefulSet"
)
CLUSTER_KINDS = words(
    "APIService CertificateSigningRequest ClusterRole ClusterRoleBinding CSIDriver CSINode "
    "CustomResourceDefinition FlowSchema IngressClass MutatingWebhookConfiguration Namespace Node "
    "PersistentVolume PodSecurityPolicy PriorityClass PriorityLevelConfiguration RuntimeClass StorageClass "
    "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration "
    "VolumeAttachment"
)

_NEEDS_OFFICIAL = {
    "helm.sh": "Helm releases and charts",
    "kustomize": "kustomize directories",
    "yaml": "YAML config groups and files of version 2",
}


@dataclass(frozen=True)
class GroupVersionKind:
    """A kind of Kubernetes object; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_built_in(self) -> bool:
        return self.group in BUILT_IN_GROUPS

    @property
    def known_scope(self) -> bool | None:
        """Whether objects live in a namespace, or `None` where only the server can say."""
        if self.is_built_in and self.kind in NAMESPACED_KINDS:
            return True
        if self.is_built_in and self.kind in CLUSTER_KINDS:
            return False
        return None

    @classmethod
    def of(cls, api_version: str, kind: str) -> GroupVersionKind:
        group, _, version = api_version.rpartition("/")
        return cls("" if group in ("core", "meta") else group, version, kind)


@dataclass(frozen=True)
class TypeToken:
    """A resource type of the SDK: the object's kind, and whether the resource patches an object it does not own."""

    token: str
    target: GroupVersionKind
    is_patch: bool


@lru_cache(maxsize=512)
def parse(token: str) -> TypeToken:
    """The parsed token; raises `PluginError` for a type this provider cannot serve."""
    package, _, rest = token.partition(":")
    api_version, _, kind = rest.rpartition(":")
    group, _, version = api_version.rpartition("/")
    if package != PACKAGE or not kind or not version or (not group and version != "v1"):
        raise PluginError(
            f"unrecognized resource type {token!r}: a type of this provider reads `kubernetes:<group>/<version>:<kind>`"
        )
    if group in _NEEDS_OFFICIAL:
        raise PluginError(
            f"{token} is not supported by the fallback for {OFFICIAL_PLUGIN}: {_NEEDS_OFFICIAL[group]} need the "
            f"official plugin. Install it where its download is reachable: pulumi plugin install resource kubernetes"
        )
    target = GroupVersionKind.of(api_version, kind)
    if target.is_built_in and kind.endswith("List"):
        raise PluginError(
            "list resources exist for compatibility with YAML manifests and Helm charts, and cannot be created "
            f"directly. Use the underlying resource type instead of {token}"
        )
    if target.is_built_in and kind.endswith("Patch"):
        return TypeToken(token, GroupVersionKind.of(api_version, kind.removesuffix("Patch")), is_patch=True)
    return TypeToken(token, target, is_patch=False)


def resolve(token: str, declared_kind: str) -> TypeToken:
    """The token of a resource whose inputs say `kind`; a custom kind is patched where the two differ by `Patch`."""
    parsed = parse(token)
    if not parsed.is_patch and declared_kind and parsed.target.kind == f"{declared_kind}Patch":
        target = GroupVersionKind(parsed.target.group, parsed.target.version, declared_kind)
        return TypeToken(token, target, is_patch=True)
    return parsed


def type_of(urn: str) -> str:
    """The resource's own type token inside a URN."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def name_of(urn: str) -> str:
    """The resource's own name inside a URN."""
    return urn.split("::", 3)[3]
