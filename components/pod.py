"""The pods of a service: one container under Pod Security `restricted`, probed, drained and spread."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi
from pulumi_kubernetes import core

from components.health import probes
from services.spec import ServiceSpec

# Above the ranges that hosts give to people and daemons, so that an escape meets no file of anybody's.
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
USER_ID = 10001
PORT_NAME = "http"
# As long as kube-proxy and ingress controllers may still send new requests to a pod that is going.
DRAIN_SECONDS = 5
TMP = {"/tmp": "64Mi"}  # noqa: S108 (a mount path in the pod; the rest of its file system is read-only)


def pod_template(
    spec: ServiceSpec,
    labels: dict[str, str],
    image: pulumi.Input[str],
    config_map_name: pulumi.Input[str],
    secret_name: pulumi.Input[str] | None,
    *,
    image_pull_secrets: Iterable[str] = (),
) -> core.v1.PodTemplateSpecArgsDict:
    """The Deployment's `template`; environment variables come from one ConfigMap and, where given, one Secret.

    `image_pull_secrets` are those of the environment, which the service's own are added to.
    """
    scratch = TMP | spec.scratch
    pull_secrets = list(dict.fromkeys([*image_pull_secrets, *spec.image_pull_secrets]))
    return {
        "metadata": {
            "labels": labels,
            "annotations": {"kubectl.kubernetes.io/default-container": spec.name},
        },
        "spec": {
            "service_account_name": spec.name,
            "automount_service_account_token": False,
            "enable_service_links": False,
            # Of what is nothing, no null is recorded: a refresh would find none.
            **({"image_pull_secrets": [{"name": name} for name in pull_secrets]} if pull_secrets else {}),
            "termination_grace_period_seconds": spec.rollout.termination_grace_period_seconds + DRAIN_SECONDS,
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": USER_ID,
                "run_as_group": USER_ID,
                "fs_group": USER_ID,
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            # Soft, so that a one-node cluster and a drained node can still run every replica.
            "topology_spread_constraints": [
                {
                    "max_skew": 1,
                    "topology_key": "kubernetes.io/hostname",
                    "when_unsatisfiable": "ScheduleAnyway",
                    "label_selector": {"match_labels": labels},
                }
            ],
            "volumes": [
                {"name": f"scratch-{index}", "empty_dir": {"size_limit": size}}
                for index, size in enumerate(scratch.values())
            ],
            "containers": [_container(spec, image, config_map_name, secret_name, list(scratch))],
        },
    }


def _container(
    spec: ServiceSpec,
    image: pulumi.Input[str],
    config_map_name: pulumi.Input[str],
    secret_name: pulumi.Input[str] | None,
    writable: list[str],
) -> core.v1.ContainerArgsDict:
    sources: list[core.v1.EnvFromSourceArgsDict] = [{"config_map_ref": {"name": config_map_name}}]
    if secret_name is not None:
        sources.append({"secret_ref": {"name": secret_name}})
    bounded = {"memory": spec.resources.memory, "ephemeral-storage": spec.resources.ephemeral_storage}
    return {
        "name": spec.name,
        "image": image,
        **({"ports": ports} if (ports := _ports(spec)) else {}),
        "env_from": sources,
        "resources": {"requests": {"cpu": spec.resources.cpu, **bounded}, "limits": bounded},
        "security_context": {
            "allow_privilege_escalation": False,
            "read_only_root_filesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "lifecycle": {"pre_stop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "volume_mounts": [{"name": f"scratch-{index}", "mount_path": path} for index, path in enumerate(writable)],
        **probes(spec, PORT_NAME),
    }


def _ports(spec: ServiceSpec) -> list[core.v1.ContainerPortArgsDict]:
    """The service's own port, and those that its probes ask beside it."""
    probed = {probe.port for probe in spec.health.probes(spec.kind).values() if probe.port}
    own: list[core.v1.ContainerPortArgsDict] = []
    if spec.has_port:
        own = [{"name": PORT_NAME, "container_port": spec.port, "protocol": "TCP"}]
        probed.discard(spec.port)
    return own + [{"name": f"health-{port}", "container_port": port, "protocol": "TCP"} for port in sorted(probed)]
