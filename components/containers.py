"""Parts of a pod: variables, resources, security context, mounts, volumes, other containers, and where it may run."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core

from services.containers import InitContainer, Sidecar, Volume
from services.fields import Model
from services.files import READABLE, MountedFile
from services.spec import TMP, ServiceSpec

FILES, SECRET_FILES = "files", "files-of-secrets"
# Readable for the group of the pod, which nothing else on the node has.
SECRET_MODE = 0o440

Object = dict[str, Any]


def non_empty(fields: Mapping[str, Any]) -> Object:
    """The fields that have a value; an empty one is left out, because a refresh would not find its null."""
    return {key: value for key, value in fields.items() if value}


@dataclass(frozen=True)
class PodFiles:
    """The files of a service's containers, and the ConfigMap and Secret that hold them."""

    files: Sequence[MountedFile] = ()
    config_map_name: pulumi.Input[str] | None = None
    secret_name: pulumi.Input[str] | None = None


def file_data(files: Iterable[MountedFile]) -> tuple[dict[str, str], dict[str, str]]:
    """The `data` and the `binaryData` of the ConfigMap with the files: text as it is, anything else in base 64."""
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for file in files:
        if file.secret:
            continue
        try:
            data[file.key] = file.content.decode()
        except UnicodeDecodeError:
            binary[file.key] = base64.b64encode(file.content).decode()
    return data, binary


def shape(model: Model) -> Object:
    """A part of service.yaml as it is written there, for fields that have the same names in Kubernetes."""
    return model.model_dump(by_alias=True, exclude_unset=True)


def env(container: ServiceSpec | InitContainer) -> list[Object]:
    """The container's `env`: variables with `valueFrom`, and literal values if the ConfigMap does not have them."""
    own = isinstance(container, ServiceSpec)
    return [
        {"name": name, "value": value} if isinstance(value, str) else {"name": name, **shape(value)}
        for name, value in container.env.items()
        if not (own and isinstance(value, str))
    ]


def resources(container: ServiceSpec | InitContainer) -> core.v1.ResourceRequirementsArgsDict:
    """Requests, and limits for resources that cannot be shared."""
    declared = container.resources
    bounded = {"memory": declared.memory, "ephemeral-storage": declared.ephemeral_storage}
    return {"requests": {"cpu": declared.cpu, **bounded}, "limits": bounded}


def security_context() -> core.v1.SecurityContextArgsDict:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    return {
        "allow_privilege_escalation": False,
        "read_only_root_filesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def init_containers(
    spec: ServiceSpec, image: pulumi.Input[str], sources: Sequence[Object], files: Sequence[MountedFile]
) -> list[Object]:
    """Init containers, sidecars first, so that an init container can use them.

    `sources` are the `envFrom` of the service's own container: a container of the same image gets them too.
    """
    others = [(at, each) for at, each in spec.containers if isinstance(each, InitContainer)]
    others.sort(key=lambda other: not isinstance(other[1], Sidecar))
    variables = env(spec)
    return [
        {
            **_container(each, image, *((), ()) if each.image else (sources, variables)),
            "volume_mounts": [
                *scratch_mounts(each, _scratch_prefix(at)),
                *map(shape, each.volume_mounts),
                *file_mounts(each.name, files),
            ],
        }
        for at, each in others
    ]


def _container(
    container: InitContainer, image: pulumi.Input[str], sources: Sequence[Object], variables: Sequence[Object]
) -> Object:
    own = env(container)
    taken = {each["name"] for each in own}
    optional: Object = {
        "command": container.command,
        "args": container.args,
        "env": [*own, *(each for each in variables if each["name"] not in taken)],
        "env_from": [*map(shape, container.env_from), *sources],
    }
    if isinstance(container, Sidecar):
        optional["restart_policy"] = "Always"
        optional["ports"] = ports(container)
        for name in ("startup_probe", "liveness_probe", "readiness_probe"):
            probe = getattr(container, name)
            optional[name] = shape(probe) if probe else None
    return {
        "name": container.name,
        "image": container.image or image,
        "resources": resources(container),
        "security_context": security_context(),
        **non_empty(optional),
    }


def ports(container: ServiceSpec | Sidecar) -> list[Object]:
    """The container's ports other than the service's own."""
    return [
        {"name": port.name, "container_port": port.container_port, "protocol": port.protocol}
        for port in container.ports
    ]


def service_ports(spec: ServiceSpec) -> list[Object]:
    """The ports of the Service that target `further_ports`."""
    return [
        {"name": port.name, "port": port.service_port, "target_port": port.name, "protocol": port.protocol}
        for port in further_ports(spec)
    ]


def further_ports(spec: ServiceSpec) -> list[Any]:
    """All ports of the pods except the service's own."""
    return [*spec.ports, *(port for sidecar in spec.sidecars for port in sidecar.ports)]


def scratch(container: ServiceSpec | InitContainer) -> dict[str, str]:
    """The container's writable folders and their sizes."""
    return TMP | container.scratch


def scratch_mounts(container: ServiceSpec | InitContainer, prefix: str) -> list[Object]:
    return [{"name": f"{prefix}-{index}", "mount_path": path} for index, path in enumerate(scratch(container))]


def file_mounts(container: str, files: Iterable[MountedFile]) -> list[Object]:
    """One mount per file, so that other files in its folder stay visible."""
    return [
        {
            "name": SECRET_FILES if file.secret else FILES,
            "mount_path": file.path,
            "sub_path": file.key,
            "read_only": True,
        }
        for file in files
        if file.container == container
    ]


def own_mounts(spec: ServiceSpec) -> list[Object]:
    """Where the service's own container mounts the pod's `volumes`."""
    found = []
    for volume in spec.volumes:
        if volume.mount_path:
            mount: Object = {"name": volume.name, "mount_path": volume.mount_path}
            mount |= {"sub_path": volume.sub_path} if volume.sub_path else {}
            found.append(mount | ({"read_only": True} if volume.read_only else {}))
    return found


def volumes(spec: ServiceSpec, files: PodFiles, claims: Mapping[str, pulumi.Input[str]]) -> list[Object]:
    """The volumes of the pod; `claims` are the names of its PersistentVolumeClaims by the name of the volume."""
    found: list[Object] = []
    for at, container in spec.containers:
        prefix = _scratch_prefix(at)
        found += [
            {"name": f"{prefix}-{index}", "empty_dir": {"size_limit": size}}
            for index, size in enumerate(scratch(container).values())
        ]
    found += [{"name": volume.name, **_source(volume, claims)} for volume in spec.volumes]
    return [*found, *_file_volumes(files)]


def _scratch_prefix(at: Sequence[str | int]) -> str:
    """`scratch` for the service's own container, `scratch-sidecars-0` for the first sidecar."""
    return "-".join(["scratch", *(str(part).lower() for part in at)])


def _source(volume: Volume, claims: Mapping[str, pulumi.Input[str]]) -> Object:
    if volume.persistent_volume_claim:
        return {"persistent_volume_claim": {"claim_name": claims[volume.name]}}
    if volume.empty_dir:
        return {"empty_dir": {"size_limit": volume.empty_dir.size_limit}}
    if volume.secret:
        return {"secret": shape(volume.secret)}
    return {"config_map": shape(volume.config_map)} if volume.config_map else {}


def _file_volumes(files: PodFiles) -> Iterator[Object]:
    mapped = [file for file in files.files if not file.secret]
    if mapped:
        # Only executables need `items` with a mode; for other files `defaultMode` is enough.
        items = [{"key": file.key, "path": file.key, "mode": file.mode} for file in mapped if file.mode != READABLE]
        others = [{"key": file.key, "path": file.key} for file in mapped if file.mode == READABLE]
        source: Object = {"name": files.config_map_name, "default_mode": READABLE}
        yield {"name": FILES, "config_map": source | ({"items": items + others} if items else {})}
    if len(mapped) < len(files.files):
        yield {"name": SECRET_FILES, "secret": {"secret_name": files.secret_name, "default_mode": SECRET_MODE}}


def placement(spec: ServiceSpec, labels: Mapping[str, str]) -> Object:
    """Where pods may run and how they resolve names. By default they are spread over nodes as far as possible: every
    replica can still run in a one-node cluster, or while a node is drained.
    """
    own: Object = {"labelSelector": {"matchLabels": dict(labels)}}
    spread = [own | shape(each) for each in spec.topology_spread_constraints] or [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", **own}
    ]
    optional: Object = {
        "node_selector": dict(spec.node_selector),
        "tolerations": list(map(shape, spec.tolerations)),
        "affinity": shape(spec.affinity) if spec.affinity else None,
        "priority_class_name": spec.priority_class_name,
        "host_aliases": list(map(shape, spec.host_aliases)),
        "dns_policy": spec.dns_policy,
        "dns_config": shape(spec.dns_config) if spec.dns_config else None,
    }
    return {"topology_spread_constraints": spread, **non_empty(optional)}
