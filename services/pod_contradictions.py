"""Contradictions between valid parts of a service's pods: names, ports and paths given twice, mounts of missing
volumes, claims that two pods would need at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.containers import ContainerPort, Sidecar
from services.fields import ANNOTATIONS_MAX_BYTES
from services.spec import PORT_NAME, SERVICE_PORT, TMP, ServiceSpec
from services.yaml_source import KeyPath

OWN_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by")
OWN_ANNOTATIONS = ("kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/last-applied-configuration")
OWN_DOMAINS = ("pulumi.com/", "slipway.dev/", "deployment.kubernetes.io/")

Problems = Iterator[tuple[KeyPath, str]]


def pod_contradictions(spec: ServiceSpec) -> Problems:
    """Each problem and its path in service.yaml."""
    yield from _ports(spec)
    yield from _containers(spec)
    yield from _volumes(spec)
    yield from _names(spec)
    if spec.dns_policy == "None" and not (spec.dns_config and spec.dns_config.nameservers):
        yield ("dnsPolicy",), "`dnsPolicy: None` needs `dnsConfig` with `nameservers`: pods could resolve no name"


def _ports(spec: ServiceSpec) -> Problems:
    """https://kubernetes.io/docs/concepts/services-networking/service/#multi-port-services"""
    listed: list[tuple[KeyPath, ContainerPort]] = [(("ports", index), port) for index, port in enumerate(spec.ports)]
    for number, sidecar in enumerate(spec.sidecars):
        listed += [(("sidecars", number, "ports", index), port) for index, port in enumerate(sidecar.ports)]
    names: set[str] = {PORT_NAME}
    in_pod, in_service = {(spec.port, "TCP")}, {(SERVICE_PORT, "TCP")}
    for path, port in listed:
        if port.name in names:
            yield path, f"a port `{port.name}` already exists; `{PORT_NAME}` is the service's own `port`"
        if (port.container_port, port.protocol) in in_pod:
            yield path, f"containerPort {port.container_port} is used by another port of the pod; choose another"
        if (port.service_port, port.protocol) in in_service:
            yield path, f"the Service already has port {port.service_port}; give another one as `port`"
        names.add(port.name)
        in_pod.add((port.container_port, port.protocol))
        in_service.add((port.service_port, port.protocol))
    of_http = {PORT_NAME, *(port.name for _, port in listed if port.protocol == "TCP")}
    for index, check in enumerate(spec.checks):
        if check.port and check.port not in of_http:
            known = ", ".join(sorted(of_http))
            yield ("checks", index, "port"), f"`checks.{index}.port` is {check.port!r}; allowed: {known}"


def _containers(spec: ServiceSpec) -> Problems:
    names: set[str] = set()
    for at, container in spec.containers:
        if container.name in names:
            yield (*at, "name"), f"a container `{container.name}` already exists; choose another name"
        names.add(container.name)
        if isinstance(container, Sidecar):
            yield from _probed_ports(at, container)


def _probed_ports(at: KeyPath, sidecar: Sidecar) -> Problems:
    known: set[int | str] = {each for port in sidecar.ports for each in (port.name, port.container_port)}
    for key, probe in (
        ("startupProbe", sidecar.startup_probe),
        ("livenessProbe", sidecar.liveness_probe),
        ("readinessProbe", sidecar.readiness_probe),
    ):
        handler = probe and (probe.http_get or probe.tcp_socket or probe.grpc)
        if handler and handler.port not in known:
            shown = ", ".join(map(str, sorted(known, key=str))) or "none, until it has `ports`"
            yield (*at, key), f"`{key}` uses port {handler.port!r}, which the container does not have; allowed: {shown}"


def _volumes(spec: ServiceSpec) -> Problems:
    names = [volume.name for volume in spec.volumes]
    for index, volume in enumerate(spec.volumes):
        if volume.name in names[:index]:
            yield ("volumes", index), f"a volume `{volume.name}` already exists; choose another name"
    mounted = {volume.name for volume in spec.volumes if volume.mount_path}
    for at, container in spec.containers:
        paths: set[str] = set()
        mount_paths: list[tuple[str, KeyPath]] = [
            *((path, (*at, "scratch", path)) for path in {**TMP, **container.scratch}),
            *((path, (*at, "files", path)) for path in container.files),
        ]
        if isinstance(container, ServiceSpec):
            mount_paths += [(each.mount_path or "", ("volumes", index)) for index, each in enumerate(container.volumes)]
        else:
            for index, mount in enumerate(container.volume_mounts):
                here = (*at, "volumeMounts", index)
                mount_paths.append((mount.mount_path, here))
                mounted.add(mount.name)
                if mount.name not in names:
                    known = ", ".join(names) or "none"
                    yield (*here, "name"), f"it mounts volume `{mount.name}`, which is not in `volumes`: {known}"
        for mount_path, where in mount_paths:
            if mount_path and mount_path in paths:
                yield where, f"{mount_path} is mounted twice in container `{container.name}`; choose another path"
            paths.add(mount_path)
    for index, volume in enumerate(spec.volumes):
        if volume.name not in mounted:
            yield (
                ("volumes", index),
                f"volume `{volume.name}` is not mounted; give it a `mountPath`, or a sidecar `volumeMounts`",
            )
    yield from _claims(spec)


def _claims(spec: ServiceSpec) -> Problems:
    claimed: set[str] = set()
    for index, volume in enumerate(spec.volumes):
        claim = volume.persistent_volume_claim
        if claim is None:
            continue
        name = spec.claim_name(volume)
        if name in claimed:
            yield ("volumes", index), f"the PersistentVolumeClaim `{name}` is in two volumes; keep one of them"
        claimed.add(name)
        most = spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas
        if not claim.is_shared and most > 1:
            yield (
                ("autoscaling",) if spec.autoscaling else ("replicas",),
                f"{most} pods would mount volume `{volume.name}`, which is {claim.access_modes[0]}; allowed: "
                "`replicas: 1` without `autoscaling`, or `accessModes: [ReadWriteMany]` if the storage class has it",
            )


def _names(spec: ServiceSpec) -> Problems:
    for name in spec.labels:
        if name in OWN_LABELS:
            yield ("labels", name), f"label {name} is set by Slipway itself; choose another name"
    annotated: Iterable[tuple[KeyPath, dict[str, str]]] = (
        (("annotations",), spec.annotations),
        (("service", "annotations"), spec.service.annotations),
        (("ingress", "annotations"), spec.ingress.annotations if spec.ingress else {}),
        (("serviceAccount", "annotations"), spec.service_account.annotations),
    )
    for path, given in annotated:
        for name in given:
            if name in OWN_ANNOTATIONS or name.startswith(OWN_DOMAINS):
                yield (*path, name), f"annotation {name} is set by Slipway, Pulumi or Kubernetes; choose another name"
        size = sum(len(f"{name}{value}".encode()) for name, value in given.items())
        if size > ANNOTATIONS_MAX_BYTES // 2:
            yield path, f"the annotations have {size:,} bytes; allowed: {ANNOTATIONS_MAX_BYTES // 2:,}"
