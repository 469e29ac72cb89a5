"""The structure of Kubernetes' own kinds: where a pod template and its containers are, which kinds are namespaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policy.declaration import Resource, View, any_known

# https://kubernetes.io/docs/reference/kubernetes-api/
BUILT_IN_GROUPS = frozenset(
    {"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io"}
    | {"authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "core"}
    | {"discovery.k8s.io", "events.k8s.io", "extensions", "flowcontrol.apiserver.k8s.io", "networking.k8s.io"}
    | {"node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io"}
)
NAMESPACED_KINDS = frozenset(
    {"ConfigMap", "ControllerRevision", "CronJob", "DaemonSet", "Deployment", "EndpointSlice", "Endpoints", "Event"}
    | {"HorizontalPodAutoscaler", "Ingress", "Job", "Lease", "LimitRange", "NetworkPolicy", "PersistentVolumeClaim"}
    | {"Pod", "PodDisruptionBudget", "PodTemplate", "ReplicaSet", "ReplicationController", "ResourceQuota", "Role"}
    | {"RoleBinding", "Secret", "Service", "ServiceAccount", "StatefulSet"}
)
TEMPLATE: tuple[str, ...] = ("spec", "template")
POD_TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
} | dict.fromkeys(("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), TEMPLATE)
# In a pod's `spec`.
CONTAINER_KEYS = ("initContainers", "containers", "ephemeralContainers")
# Of a Deployment without `progressDeadlineSeconds`.
DEFAULT_PROGRESS_DEADLINE_SECONDS = 600
SERVING_KINDS = frozenset({"DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"})
STACK_TYPE = "pulumi:pulumi:Stack"
IMAGE = "docker-build:index:Image"
SERVICE_IMAGE = "slipway:index:ServiceImage"
# Both build and push without BuildKit's stages: https://www.pulumi.com/registry/packages/docker/api-docs/
OTHER_IMAGES = ("docker:index/image:Image", "docker:index/registryImage:RegistryImage")


def group_version(resource: Resource) -> tuple[str, str] | None:
    """API group and version in the type token `kubernetes:apps/v1:Deployment`; `None` for any other type."""
    parts = resource.type.split(":")
    if len(parts) != 3 or parts[0] != "kubernetes":
        return None
    group, slash, version = parts[1].partition("/")
    return (group, version) if slash else None


def is_built_in(resource: Resource) -> bool:
    """Whether it is an object of one of Kubernetes' own API groups."""
    found = group_version(resource)
    return found is not None and found[0] in BUILT_IN_GROUPS


def objects(*kinds: str) -> Callable[[Resource], list[View]]:
    """The whole resource, for Kubernetes' own objects of these kinds."""
    chosen = frozenset(kinds)

    def found(resource: Resource) -> list[View]:
        return [View.of(resource)] if resource.kind in chosen and is_built_in(resource) else []

    return found


def builds(resource: Resource) -> list[View]:
    """The whole resource, for an image build."""
    return [View.of(resource)] if resource.type == IMAGE else []


def other_builds(resource: Resource) -> list[View]:
    """The whole resource, for an image that another provider than docker-build makes."""
    return [View.of(resource)] if resource.type in OTHER_IMAGES else []


def promoted_images(resource: Resource) -> list[View]:
    """The whole resource, for a service's image that another environment built."""
    return [View.of(resource)] if resource.type == SERVICE_IMAGE and "digest" in resource.inputs else []


def is_pushed(build: View) -> bool:
    """Whether an image build pushes to a registry, by `push` or by one of its `exports`.

    https://www.pulumi.com/registry/packages/docker-build/api-docs/image/#export
    """
    return any_known([build.at("push"), *build.at("exports").subjects()], _pushes)


def _pushes(way: View) -> bool:
    if way.path == "push":
        return bool(way.read())
    raw, registry = way.at("raw").text() or "", way.at("registry")
    pushes = registry.present and registry.at("push").read() is not False
    pushes = pushes or bool(way.at("image", "push").read()) or "type=registry" in raw or "push=true" in raw
    return pushes and not way.at("disabled").read()


def pods(resource: Resource) -> list[View]:
    """The pod or pod template (metadata and spec) of a kind that has one."""
    keys = POD_TEMPLATES.get(resource.kind)
    return [View.of(resource).at(*keys)] if keys is not None and is_built_in(resource) else []


def pod_specs(resource: Resource) -> list[View]:
    """The pod's `spec`."""
    return [pod.at("spec") for pod in pods(resource)]


def serving_pod_specs(resource: Resource) -> list[View]:
    """The pod's `spec`, if the pods run until they are stopped."""
    if resource.kind in SERVING_KINDS:
        return pod_specs(resource)
    return _kept_running(pod_specs(resource), default="Always") if resource.kind == "Pod" else []


def containers(resource: Resource) -> list[View]:
    """Every container: init, main and ephemeral."""
    return [each for spec in pod_specs(resource) for key in CONTAINER_KEYS for each in spec.at(key).subjects()]


def image_volumes(resource: Resource) -> list[View]:
    """Volumes that are filled from an image: https://kubernetes.io/docs/concepts/storage/volumes/#image"""
    volumes = [each for spec in pod_specs(resource) for each in spec.at("volumes").subjects()]
    return [each for each in volumes if each.unknown or each.at("image").value is not None]


def serving_containers(resource: Resource) -> list[View]:
    """Containers that run until they are stopped: the main ones and sidecars.

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    found: list[View] = []
    for spec in serving_pod_specs(resource):
        found += _kept_running(spec.at("initContainers").subjects(), default="OnFailure")
        found += spec.at("containers").subjects()
    return found


def _kept_running(started: Iterable[View], *, default: str) -> list[View]:
    """The ones that are always restarted; if that is not known, the unknown value itself."""
    found: list[View] = []
    for each in started:
        policy = each.at("restartPolicy")
        if policy.unknown:
            found.append(policy)
        elif (policy.value or default) == "Always":
            found.append(each)
    return found


def main_containers(resource: Resource) -> list[View]:
    """Containers that are stopped first: a sidecar is stopped when they have ended.

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#sidecar-containers-and-pod-lifecycle
    """
    return [each for spec in serving_pod_specs(resource) for each in spec.at("containers").subjects()]


def is_recreated(workload: View) -> bool:
    """Whether a Deployment stops each pod before it starts the next, for a claim that only one pod may have."""
    volumes = workload.at("spec", "template", "spec", "volumes")
    recreated = workload.at("spec", "strategy", "type").read() == "Recreate"
    return recreated and any_known(volumes.items(), lambda each: each.at("persistentVolumeClaim").present)


def any_of(*subjects: Callable[[Resource], Iterable[View]]) -> Callable[[Resource], list[View]]:
    """The subjects of all of these."""
    return lambda resource: [view for each in subjects for view in each(resource)]


def of_linux(subjects: Callable[[Resource], Iterable[View]]) -> Callable[[Resource], list[View]]:
    """The subjects, except of a pod that is declared to run on Windows, where the API server refuses such fields.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#windows-pod-spec
    """

    def found(resource: Resource) -> list[View]:
        systems = (spec.at("os", "name").value for spec in pod_specs(resource))
        return [] if "windows" in systems else list(subjects(resource))

    return found


def container_name(container: View) -> str:
    """How messages name a container."""
    name = container.at("name").value
    return f"container `{name}`" if isinstance(name, str) else "the container"
