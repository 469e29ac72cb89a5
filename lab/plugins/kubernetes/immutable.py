"""Which fields the API server never changes in place, so that a change of them replaces the object.

The tables are those of the official plugin's `forceNew` database. What they do not cover is asked of the server by a
dry run: `needs_server` says when that is worth a request, `immutable_fields` reads the answer.
"""

from __future__ import annotations

import re

from lab.plugins.kubernetes.paths import Path
from lab.plugins.kubernetes.tokens import GroupVersionKind, words
from lab.plugins.kubernetes.values import Object, list_at, text_at

_ALL = "*"
_SELECTOR = ("spec.selector",)
_CONTAINER_FIELDS = words(
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources "
    "securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices "
    "volumeMounts workingDir"
)
_POD_FIELDS = words(
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC "
    "hostNetwork hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority "
    "priorityClassName readinessGates restartPolicy runtimeClassName schedulerName securityContext "
    "serviceAccount serviceAccountName shareProcessNamespace subdomain terminationGracePeriodSeconds volumes"
)
_VOLUME_SOURCES = words(
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk "
    "glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos "
    "vsphereVolume"
)

_REPLACING: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "StatefulSet"): (
        *_SELECTOR,
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): (*_SELECTOR, "spec.completions", "spec.parallelism", "spec.template"),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
    ("", "PersistentVolume"): tuple(f"spec.{name}" for name in _VOLUME_SOURCES),
    ("", "PersistentVolumeClaim"): (*_SELECTOR, "spec.accessModes", "spec.storageClassName", "spec.volumeName"),
    ("", "Pod"): (
        *(f"spec.{name}" for name in _POD_FIELDS),
        *(
            f"spec.{list_name}[*].{name}"
            for list_name in ("containers", "initContainers")
            for name in _CONTAINER_FIELDS
        ),
    ),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP",),
}

# Where a change may be immutable though the table above does not say so: the fields to ask about, or all of them.
_ASK: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Service"): ("spec.clusterIPs", "spec.ipFamilies", "spec.loadBalancerClass", "spec.healthCheckNodePort"),
    **dict.fromkeys(
        [
            ("apps", "Deployment"),
            ("apps", "DaemonSet"),
            ("autoscaling", "HorizontalPodAutoscaler"),
            ("batch", "CronJob"),
            ("networking.k8s.io", "Ingress"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("policy", "PodDisruptionBudget"),
            ("rbac.authorization.k8s.io", "ClusterRole"),
            ("rbac.authorization.k8s.io", "Role"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("", "ConfigMap"),
            ("", "LimitRange"),
            ("", "Namespace"),
            ("", "ResourceQuota"),
            ("", "Secret"),
            ("", "ServiceAccount"),
        ],
        (),
    ),
}

# Groups an object moved between without becoming another object: a new apiVersion there is an update.
_SAME_OBJECT_GROUPS = frozenset({"extensions", "apps", "networking.k8s.io", "policy", "", "events.k8s.io"})

_IMMUTABLE_MESSAGE = re.compile(
    r"immutable|may not (be )?change|cannot (be )?change|updates to .* (is|are) forbidden|updates may not change"
    r"|may not be updated|forbidden after creation|field can not be",
    re.IGNORECASE,
)


def replacing_fields(
    target: GroupVersionKind, inputs: Object, *, mutable_config_maps: bool, mutable_secrets: bool
) -> list[Path]:
    """The fields of this object whose change replaces it."""
    fields = ["metadata.name", "metadata.namespace", "kind"]
    frozen = inputs.get("immutable") is True
    if (target.group, target.kind) == ("", "Secret") and (frozen or not mutable_secrets):
        fields += ["type", "stringData", "data"]
    elif (target.group, target.kind) == ("", "ConfigMap"):
        fields += [] if mutable_config_maps and not frozen else ["binaryData", "data"]
    else:
        fields += _REPLACING.get((target.group, target.kind), ())
    return [Path.parse(field) for field in fields]


def is_other_object(old_api_version: str, new_api_version: str) -> bool:
    """Whether a change of apiVersion names another object, rather than another version of the same."""
    old, new = (GroupVersionKind.of(version, "").group for version in (old_api_version, new_api_version))
    return old != new and not (old in _SAME_OBJECT_GROUPS and new in _SAME_OBJECT_GROUPS)


def needs_server(target: GroupVersionKind, changed: list[Path]) -> bool:
    """Whether only the server can say if these changes are possible in place."""
    ask = _ASK.get((target.group, target.kind), (_ALL,))
    fields = [path for path in changed if path.parts[0] not in ("metadata", "apiVersion", "kind")]
    if _ALL in ask:
        return bool(fields)
    return any(Path.parse(field).covers(path) for field in ask for path in fields)


def immutable_fields(status: Object) -> list[Path]:
    """The fields an API error calls immutable; the whole object, `Path(())`, where it names none."""
    causes = list_at(status, "details", "causes")
    named = [_field(text_at(cause, "field")) for cause in causes if _is_immutable(text_at(cause, "message"))]
    if not named and not causes and _is_immutable(text_at(status, "message")):
        return [Path(())]
    return named


def _is_immutable(message: str) -> bool:
    return bool(_IMMUTABLE_MESSAGE.search(message))


def _field(text: str) -> Path:
    try:
        return Path.parse(text)
    except ValueError:
        return Path(())
