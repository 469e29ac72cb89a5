"""The pods of a service and of its Jobs: containers under Pod Security `restricted`, probes, files, volumes, nodes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core

from services.containers import InitContainer, Sidecar
from services.fields import Model
from services.files import READABLE, MountedFile
from services.spec import PORT_NAME, TMP, ServiceSpec
from services.workloads import Probe

# Above the ranges that hosts give to people and daemons, so that an escaped process owns no files.
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
USER_ID = 10001
# As long as kube-proxy and ingress controllers may still send new requests to a terminating pod.
DRAIN_SECONDS = 5
PROBE_TIMEOUT_SECONDS = 3
FILES, SECRET_FILES = "files", "files-of-secrets"
# Readable for the group of the pod, which nothing else on the node has.
SECRET_MODE = 0o440

Object = dict[str, Any]


@dataclass(frozen=True)
class PodFiles:
    """The files of a service's containers, and the ConfigMap and Secret that hold them."""

    files: Sequence[MountedFile] = ()
    config_map_name: pulumi.Input[str] | None = None
    secret_name: pulumi.Input[str] | None = None


NO_FILES = PodFiles()


def pod_template(
    spec: ServiceSpec,
    labels: dict[str, str],
    image: pulumi.Input[str],
    config_map_name: pulumi.Input[str],
    secret_name: pulumi.Input[str] | None,
    *,
    image_pull_secrets: Iterable[str] = (),
    files: PodFiles = NO_FILES,
    claims: Mapping[str, pulumi.Input[str]] | None = None,
) -> core.v1.PodTemplateSpecArgsDict:
    """The Deployment's `template`; environment variables come from one ConfigMap and, if given, one Secret.

    `image_pull_secrets` are those of the environment; the service's own are added. `claims` are the names of
    PersistentVolumeClaims by volume name.
    """
    pull_secrets = list(dict.fromkeys([*image_pull_secrets, *spec.image_pull_secrets]))
    # If several sources have a variable, the last counts.
    sources = [*map(shape, spec.env_from), {"config_map_ref": {"name": config_map_name}}]
    if secret_name is not None:
        sources.append({"secret_ref": {"name": secret_name}})
    others = init_containers(spec, image, sources, files.files)
    pod: Any = {
        "service_account_name": spec.name,
        "automount_service_account_token": False,
        "enable_service_links": False,
        # Empty fields are left out: a refresh would not find their null.
        **({"image_pull_secrets": [{"name": name} for name in pull_secrets]} if pull_secrets else {}),
        "termination_grace_period_seconds": spec.rollout.termination_grace_period_seconds + DRAIN_SECONDS,
        "security_context": {
            "run_as_non_root": True,
            "run_as_user": USER_ID,
            "run_as_group": USER_ID,
            "fs_group": USER_ID,
            "seccomp_profile": {"type": "RuntimeDefault"},
        },
        **placement(spec, labels),
        "volumes": volumes(spec, files, claims or {}),
        **({"init_containers": others} if others else {}),
        "containers": [_own_container(spec, image, sources, files)],
    }
    return {
        "metadata": {
            "labels": {**spec.labels, **labels},
            "annotations": {**spec.annotations, "kubectl.kubernetes.io/default-container": spec.name},
        },
        "spec": pod,
    }


def _own_container(
    spec: ServiceSpec, image: pulumi.Input[str], sources: Sequence[Any], files: PodFiles
) -> dict[str, Any]:
    own_port = [{"name": PORT_NAME, "container_port": spec.port, "protocol": "TCP"}] if spec.has_port else []
    declared = own_port + ports(spec)
    probed = {probe.port for probe in spec.health.probes(spec.kind).values() if probe.port}
    probed -= {port["container_port"] for port in declared}
    optional: Object = {
        "command": spec.command,
        "args": spec.args,
        "ports": [
            *declared,
            *({"name": f"health-{port}", "container_port": port, "protocol": "TCP"} for port in sorted(probed)),
        ],
        "env": env(spec),
    }
    mounts = _scratch_mounts(spec, "scratch")
    for volume in spec.volumes:
        if volume.mount_path:
            mount: Object = {"name": volume.name, "mount_path": volume.mount_path}
            mount |= {"sub_path": volume.sub_path} if volume.sub_path else {}
            mounts.append(mount | ({"read_only": True} if volume.read_only else {}))
    return {
        "name": spec.name,
        "image": image,
        **_non_empty(optional),
        "env_from": sources,
        "resources": resources(spec),
        "security_context": security_context(),
        "lifecycle": {"pre_stop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "volume_mounts": [*mounts, *_file_mounts(spec.name, files.files)],
        **probes(spec, PORT_NAME),
    }


# https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
def probes(spec: ServiceSpec, port_name: str) -> dict[str, core.v1.ProbeArgsDict]:
    """The probes of the service's container, by argument name; `port_name` is the name of its own port."""
    timings: dict[str, core.v1.ProbeArgsDict] = {
        # Asked every second, so that a rollout ends as soon as it can.
        "startup": {"period_seconds": 1, "failure_threshold": spec.health.startup_timeout_seconds},
        # The most patient one: a restart under load increases the load of the other pods.
        "live": {"period_seconds": 10, "failure_threshold": 6},
        # Takes a pod out of the Service after 15 seconds of failing, and back in at its first success.
        "ready": {"period_seconds": 5, "failure_threshold": 3},
    }
    names = {"startup": "startup_probe", "live": "liveness_probe", "ready": "readiness_probe"}
    return {
        names[name]: {
            **_question(probe, spec.port, port_name),
            "timeout_seconds": PROBE_TIMEOUT_SECONDS,
            **timings[name],
        }
        for name, probe in spec.health.probes(spec.kind).items()
    }


def _question(probe: Probe, port: int, port_name: str) -> core.v1.ProbeArgsDict:
    if probe.exec is not None:
        return {"exec_": {"command": probe.exec}}
    if probe.grpc:  # the only handler that accepts no port name
        service: dict[str, str] = {"service": probe.grpc.service} if probe.grpc.service else {}
        return {"grpc": {"port": probe.port or port, **service}}
    if probe.http_get:
        return {"http_get": {"path": probe.http_get.path, "port": probe.port or port_name}}
    return {"tcp_socket": {"port": probe.port or port_name}}


def job_spec(
    template: Mapping[str, Any], labels: Mapping[str, str], *, active_deadline_seconds: int, backoff_limit: int
) -> dict[str, Any]:
    """The `spec` of a Job whose pods have the Deployment's `template`, with other labels.

    A Job that exceeds its own deadline deletes its pods, and with them the log that says why. So the pods have the
    deadline too, and the Job has a minute more, for pods that never start.
    """
    pod = template["spec"]
    main, *sidecars = pod["containers"]
    # A container that runs to completion gets no requests: it needs no ports, probes or draining.
    asked = ("ports", "lifecycle", "startup_probe", "liveness_probe", "readiness_probe")
    return {
        "active_deadline_seconds": active_deadline_seconds + 60,
        "backoff_limit": backoff_limit,
        "template": {
            "metadata": {**template["metadata"], "labels": dict(labels)},
            "spec": {
                **{key: value for key, value in pod.items() if key != "topology_spread_constraints"},
                "restart_policy": "Never",
                "active_deadline_seconds": active_deadline_seconds,
                "containers": [{key: value for key, value in main.items() if key not in asked}, *sidecars],
            },
        },
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
                *_scratch_mounts(each, _scratch_prefix(at)),
                *map(shape, each.volume_mounts),
                *_file_mounts(each.name, files),
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
        **_non_empty(optional),
    }


def _non_empty(fields: Mapping[str, Any]) -> Object:
    """The fields that have a value; an empty one is left out, because a refresh would not find its null."""
    return {key: value for key, value in fields.items() if value}


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


def ports(container: ServiceSpec | Sidecar) -> list[Object]:
    """The container's ports other than the service's own."""
    return [
        {"name": port.name, "container_port": port.container_port, "protocol": port.protocol}
        for port in container.ports
    ]


def further_ports(spec: ServiceSpec) -> list[Any]:
    """All ports of the pods except the service's own."""
    return [*spec.ports, *(port for sidecar in spec.sidecars for port in sidecar.ports)]


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


def _file_mounts(container: str, files: Iterable[MountedFile]) -> list[Object]:
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


def volumes(spec: ServiceSpec, files: PodFiles, claims: Mapping[str, pulumi.Input[str]]) -> list[Object]:
    """The volumes of the pod; `claims` are the names of its PersistentVolumeClaims by the name of the volume."""
    found: list[Object] = []
    for at, container in spec.containers:
        prefix = _scratch_prefix(at)
        found += [
            {"name": f"{prefix}-{index}", "empty_dir": {"size_limit": size}}
            for index, size in enumerate(scratch(container).values())
        ]
    for volume in spec.volumes:
        source: Object = {}
        if volume.persistent_volume_claim:
            source = {"persistent_volume_claim": {"claim_name": claims[volume.name]}}
        elif volume.empty_dir:
            source = {"empty_dir": {"size_limit": volume.empty_dir.size_limit}}
        elif volume.secret:
            source = {"secret": shape(volume.secret)}
        elif volume.config_map:
            source = {"config_map": shape(volume.config_map)}
        found.append({"name": volume.name, **source})
    mapped = [file for file in files.files if not file.secret]
    if mapped:
        # Only executables need `items` with a mode; for other files `defaultMode` is enough.
        items = [{"key": file.key, "path": file.key, "mode": file.mode} for file in mapped if file.mode != READABLE]
        others = [{"key": file.key, "path": file.key} for file in mapped if file.mode == READABLE]
        config_map: Object = {"name": files.config_map_name, "default_mode": READABLE}
        found.append({"name": FILES, "config_map": config_map | ({"items": items + others} if items else {})})
    if len(mapped) < len(files.files):
        found.append({"name": SECRET_FILES, "secret": {"secret_name": files.secret_name, "default_mode": SECRET_MODE}})
    return found


def scratch(container: ServiceSpec | InitContainer) -> dict[str, str]:
    """The container's writable folders and their sizes."""
    return TMP | container.scratch


def _scratch_mounts(container: ServiceSpec | InitContainer, prefix: str) -> list[Object]:
    return [{"name": f"{prefix}-{index}", "mount_path": path} for index, path in enumerate(scratch(container))]


def _scratch_prefix(at: Sequence[str | int]) -> str:
    """`scratch` for the service's own container, `scratch-sidecars-0` for the first sidecar."""
    return "-".join(["scratch", *(str(part).lower() for part in at)])


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
    return {"topology_spread_constraints": spread, **_non_empty(optional)}
