"""Objects: their namespaces, APIs and labels, that the rules can see them, and that data survive mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policy.declaration import Problem, Resource, View, known_matches
from policy.kinds import BUILT_IN_GROUPS, NAMESPACED_KINDS, group_version, is_built_in, objects, pods
from policy.model import ADVISED_IN_DEV, Family, rule, stack_rule
from policy.stack import DEFAULT_NAMESPACE, DeclaredStack, namespace, object_name

OBJECTS = Family("Objects")
LABELS_PAGE = "https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/"
NAMESPACES_PAGE = "https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/"
SYSTEM_PREFIX = "kube-"
OBJECT_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by")
CLUSTER_LABELS = ("app.kubernetes.io/managed-by",)
POD_LABELS = ("app.kubernetes.io/name",)
# Objects that only change or only list others: the resulting objects cannot be judged.
PARTIAL_SUFFIXES = ("Patch", "List")
RELEASE = "kubernetes:helm.sh/v3:Release"
# https://www.pulumi.com/docs/iac/concepts/resources/dynamic-providers/, https://www.pulumi.com/registry/packages/command/
DYNAMIC_TYPE = re.compile(r"pulumi-[a-z]+:dynamic[:/]")
COMMANDS = ("command:local:", "command:remote:")


def _in_a_namespace(resource: Resource) -> list[View]:
    """Namespaced objects. A kind that is not Kubernetes' own counts as one if it names a namespace."""
    view = View.of(resource)
    known = is_built_in(resource) and resource.kind in NAMESPACED_KINDS
    named = group_version(resource) is not None and bool(view.at("metadata", "namespace").value)
    return [view] if known or named else []


@rule(
    "own-namespace",
    title="No object is in the default or a system namespace",
    why="These namespaces have other objects, quotas and policies, and the stack cannot be deleted with its namespace.",
    source=f"{NAMESPACES_PAGE}#initial-namespaces",
    remedy="Set metadata.namespace, as `Microservice` does.",
    of=_in_a_namespace,
)
def own_namespace(view: View) -> Iterator[Problem]:
    found = namespace(view.resource)
    name = found.text() or ""
    if name in ("", DEFAULT_NAMESPACE) or name.startswith(SYSTEM_PREFIX):
        yield found.problem(
            f"the object goes into namespace `{name}`; allowed: any but `{DEFAULT_NAMESPACE}` and `{SYSTEM_PREFIX}*`"
        )


def _kubernetes_objects(resource: Resource) -> list[View]:
    return [View.of(resource)] if is_built_in(resource) else []


@rule(
    "no-removed-api",
    title="No object uses an API that Kubernetes has removed",
    why="The API server rejects the object, and the update fails half way.",
    source="https://kubernetes.io/docs/reference/using-api/deprecation-guide/",
    remedy="Use the API version that replaces it.",
    of=_kubernetes_objects,
)
def no_removed_api(view: View) -> Iterator[Problem]:
    found = group_version(view.resource)
    removed = removal(*found, view.resource.kind) if found else None
    if found and removed:
        yield view.at("apiVersion").problem(
            f"{'/'.join(found)} {view.resource.kind} was removed in Kubernetes {removed.version}, "
            f"the cluster runs {CLUSTER_VERSION}; allowed: {removed.instead}"
        )


@rule(
    "required-labels",
    title="Objects have the labels app.kubernetes.io/name, part-of and managed-by",
    why="Without these labels it is unclear which objects may be deleted, and selectors and dashboards miss them.",
    source=LABELS_PAGE,
    remedy="Set the app.kubernetes.io labels, as `Microservice` does.",
    of=_kubernetes_objects,
)
def required_labels(view: View) -> Iterator[Problem]:
    required = OBJECT_LABELS if view.resource.kind in NAMESPACED_KINDS else CLUSTER_LABELS
    yield from _missing(view.at("metadata", "labels"), required)


@rule(
    "required-pod-labels",
    title="Pods have the label app.kubernetes.io/name",
    why="Logs, metrics and network policies identify a pod only by its labels.",
    source=LABELS_PAGE,
    remedy="Set app.kubernetes.io/name in the pod template's metadata.",
    of=pods,
)
def required_pod_labels(pod: View) -> Iterator[Problem]:
    yield from _missing(pod.at("metadata", "labels"), POD_LABELS)


def _missing(labels: View, required: tuple[str, ...]) -> Iterator[Problem]:
    missing = [name for name in required if not labels.at(name).text()]
    if missing:
        yield labels.problem(
            f"label {', '.join(missing)} is missing; allowed: {', '.join(required)}, each with a value"
        )


def _partial_or_hidden(resource: Resource) -> list[View]:
    found = group_version(resource)
    built_in = found is not None and found[0] in BUILT_IN_GROUPS
    partial = built_in and resource.kind.endswith(PARTIAL_SUFFIXES)
    return [View.of(resource)] if partial or resource.type == RELEASE else []


@rule(
    "objects-visible",
    title="Every object is a resource of its own",
    why="The other rules cannot check objects that a Helm Release installs or a Patch changes.",
    source="https://www.pulumi.com/docs/iac/crossguard/",
    remedy="Declare the objects themselves (a Chart, or a ConfigGroup, does so), not a Release, a Patch or a List.",
    of=_partial_or_hidden,
)
def objects_visible(view: View) -> Iterator[Problem]:
    yield view.problem(
        f"{view.resource.type} hides the objects that it creates or changes; allowed: each object as its own resource"
    )


def _code_of_its_own(resource: Resource) -> list[View]:
    return [View.of(resource)] if DYNAMIC_TYPE.match(resource.type) or resource.type.startswith(COMMANDS) else []


@rule(
    "restorable",
    title="A rollback can restore every resource",
    why="A rollback declares the recorded resources. It cannot undo a command, and would run it again; a dynamic "
    "provider is code in the state, and a rollback would run the old code.",
    source="https://www.pulumi.com/docs/iac/concepts/resources/dynamic-providers/",
    remedy="Use a migration, an init container or a Job, whose image is recorded by its digest.",
    of=_code_of_its_own,
)
def restorable(view: View) -> Iterator[Problem]:
    yield view.problem(
        f"{view.resource.type} runs code that a rollback cannot undo; allowed: resources whose provider sets the "
        "declared inputs"
    )


@rule(
    "namespace-restricted",
    title="Namespaces enforce Pod Security `restricted`",
    why="The API server then also rejects violating pods that do not come from this program.",
    source="https://kubernetes.io/docs/concepts/security/pod-security-admission/",
    remedy="Set the label pod-security.kubernetes.io/enforce to restricted.",
    of=objects("Namespace"),
)
def namespace_restricted(view: View) -> Iterator[Problem]:
    label = view.at("metadata", "labels", "pod-security.kubernetes.io/enforce")
    if label.read() != "restricted":
        yield label.problem(f"pod-security.kubernetes.io/enforce is {label.shown()}; allowed: `restricted`")


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


STATEFUL = Family("Stateful kinds")
PROTECT_PAGE = "https://www.pulumi.com/docs/iac/concepts/resources/options/protect/"
CLAIMS_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/"
RECLAIM_PAGE = "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming"
STATEFUL_KINDS = ("PersistentVolumeClaim", "PersistentVolume", "StatefulSet")


@rule(
    "stateful-protected",
    title="Stateful resources are protected",
    why="A renamed resource is deleted and created again, and its data are lost.",
    source=PROTECT_PAGE,
    remedy="Declare it with `ResourceOptions(protect=True)`.",
    of=objects(*STATEFUL_KINDS),
    levels=ADVISED_IN_DEV,
)
def stateful_protected(view: View) -> Iterator[Problem]:
    if not view.resource.options.protect:
        yield view.problem(f"the {view.resource.kind} is not protected; allowed: `protect=True`")


@stack_rule(
    "stateful-namespace-protected",
    title="A namespace with stateful resources is protected",
    why="Deleting a namespace deletes every claim in it, even if the claims are protected.",
    source=PROTECT_PAGE,
    remedy="Declare the Namespace with `ResourceOptions(protect=True)`.",
    of=objects("Namespace"),
    levels=ADVISED_IN_DEV,
)
def stateful_namespace_protected(view: View, stack: DeclaredStack) -> Iterator[Problem]:
    if view.resource.options.protect:
        return
    stateful = stack.of_kind("PersistentVolumeClaim", "StatefulSet")
    name = object_name(view.resource)
    inside = known_matches(stateful, lambda each: bool(stateful and namespace(each).read() == name.read()))
    if inside:
        yield view.problem(
            f"it contains {', '.join(each.ref for each in inside)} and is not protected; allowed: `protect=True`"
        )


@rule(
    "stateful-data-kept",
    title="Data are kept when a StatefulSet or claim is deleted",
    why="`Delete` deletes the disk with the claim, or the claims with the StatefulSet.",
    source=f"{CLAIMS_PAGE}#persistentvolumeclaim-retention; {RECLAIM_PAGE}",
    remedy="Use `Retain`.",
    of=objects("StatefulSet", "PersistentVolume"),
    levels=ADVISED_IN_DEV,
)
def stateful_data_kept(view: View) -> Iterator[Problem]:
    policies = view.at("spec", "persistentVolumeClaimRetentionPolicy")
    for fate in (
        policies.at("whenDeleted"),
        policies.at("whenScaled"),
        view.at("spec", "persistentVolumeReclaimPolicy"),
    ):
        if fate.read() in ("Delete", "Recycle"):
            yield fate.problem(f"{fate.path.rpartition('.')[2]} is {fate.shown()}; allowed: `Retain`")
