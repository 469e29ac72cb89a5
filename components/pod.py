"""The pods of a service: one container under Pod Security `restricted`, probed, drained and spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes import core

from components import containers
from components.health import probes
from services.spec import PORT_NAME, ServiceSpec

# Above the ranges that hosts give to people and daemons, so that an escaped process owns no files.
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
USER_ID = 10001
# As long as kube-proxy and ingress controllers may still send new requests to a terminating pod.
DRAIN_SECONDS = 5
NO_FILES = containers.PodFiles()


def pod_template(
    spec: ServiceSpec,
    labels: dict[str, str],
    image: pulumi.Input[str],
    config_map_name: pulumi.Input[str],
    secret_name: pulumi.Input[str] | None,
    *,
    image_pull_secrets: Iterable[str] = (),
    files: containers.PodFiles = NO_FILES,
    claims: Mapping[str, pulumi.Input[str]] | None = None,
) -> core.v1.PodTemplateSpecArgsDict:
    """The Deployment's `template`; environment variables come from one ConfigMap and, if given, one Secret.

    `image_pull_secrets` are those of the environment; the service's own are added. `claims` are the names of
    PersistentVolumeClaims by volume name.
    """
    pull_secrets = list(dict.fromkeys([*image_pull_secrets, *spec.image_pull_secrets]))
    # If several sources have a variable, the last counts.
    sources = [*map(containers.shape, spec.env_from), {"config_map_ref": {"name": config_map_name}}]
    if secret_name is not None:
        sources.append({"secret_ref": {"name": secret_name}})
    others = containers.init_containers(spec, image, sources, files.files)
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
        **containers.placement(spec, labels),
        "volumes": containers.volumes(spec, files, claims or {}),
        **({"init_containers": others} if others else {}),
        "containers": [_container(spec, image, sources, files)],
    }
    return {
        "metadata": {
            "labels": {**spec.labels, **labels},
            "annotations": {**spec.annotations, "kubectl.kubernetes.io/default-container": spec.name},
        },
        "spec": pod,
    }


def _container(
    spec: ServiceSpec, image: pulumi.Input[str], sources: Sequence[Any], files: containers.PodFiles
) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "command": spec.command,
        "args": spec.args,
        "ports": _ports(spec),
        "env": containers.env(spec),
    }
    mounts = [*containers.scratch_mounts(spec, "scratch"), *containers.own_mounts(spec)]
    return {
        "name": spec.name,
        "image": image,
        **containers.non_empty(optional),
        "env_from": sources,
        "resources": containers.resources(spec),
        "security_context": containers.security_context(),
        "lifecycle": {"pre_stop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "volume_mounts": [*mounts, *containers.file_mounts(spec.name, files.files)],
        **probes(spec, PORT_NAME),
    }


def _ports(spec: ServiceSpec) -> list[dict[str, Any]]:
    """The service's own port, its `ports`, and any other ports that its probes use."""
    own = [{"name": PORT_NAME, "container_port": spec.port, "protocol": "TCP"}] if spec.has_port else []
    declared = own + containers.ports(spec)
    probed = {probe.port for probe in spec.health.probes(spec.kind).values() if probe.port}
    probed -= {port["container_port"] for port in declared}
    return declared + [{"name": f"health-{port}", "container_port": port, "protocol": "TCP"} for port in sorted(probed)]
