"""Values of a service.yaml that are valid alone and invalid together, or with its kind, or too large."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from services.builds import BASE_IMAGE_ARGUMENT
from services.containers import ContainerPort, Sidecar
from services.fields import ANNOTATIONS_MAX_BYTES
from services.spec import (
    OBJECT_MAX_BYTES,
    PORT_NAME,
    SERVICE_PORT,
    TMP,
    ServiceSpec,
    config_data,
    url_variable,
    variable_problem,
)
from services.workloads import Kind
from services.yaml_source import KeyPath

OWN_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by")
OWN_ANNOTATIONS = ("kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/last-applied-configuration")
OWN_DOMAINS = ("pulumi.com/", "slipway.dev/", "deployment.kubernetes.io/")
# For the annotations of a Deployment besides its checks.
ANNOTATIONS_RESERVED_BYTES = 4 * 1024
# Of a stack's configuration, in which the secrets of a service are set under its name: Pulumi's, the program's own and
# those of its providers.
RESERVED_NAMESPACES = {"pulumi", "slipway", "kubernetes", "docker", "docker-build"}
_NO_PORT = "has no port and no Service, unlike `kind: Service`"
_UNUSED: Mapping[Kind, Mapping[str, str]] = {
    "Worker": {
        "port": _NO_PORT,
        "ports": _NO_PORT,
        "checks": "gets no HTTP requests: its probes are in `health`",
        "service": _NO_PORT,
        "ingress": _NO_PORT,
    },
    "CronJob": {
        "port": _NO_PORT,
        "ports": _NO_PORT,
        "replicas": "starts Jobs on its schedule and has no running pods in between",
        "autoscaling": "has no running pods to scale",
        "health": "runs Jobs, and their exit codes say whether it works",
        "checks": "gets no HTTP requests: the exit codes of its Jobs say whether it works",
        "rollout": "has no rollout: its next Job is started from the new image",
        "service": _NO_PORT,
        "ingress": _NO_PORT,
    },
}

Problems = Iterator[tuple[KeyPath, str]]


def contradictions(spec: ServiceSpec, given: Collection[str]) -> Problems:
    """Each problem and its path in service.yaml; `given` are the keys that are written for the service."""
    yield from _of_kind(spec, given)
    yield from _values(spec)
    yield from _ports(spec)
    yield from _containers(spec)
    yield from _volumes(spec)
    yield from _metadata(spec)
    if spec.dns_policy == "None" and not (spec.dns_config and spec.dns_config.nameservers):
        yield ("dnsPolicy",), "`dnsPolicy: None` needs `dnsConfig` with `nameservers`: pods could resolve no name"
    yield from _build(spec)
    yield from _oversized(spec)


def _of_kind(spec: ServiceSpec, given: Collection[str]) -> Problems:
    """Keys that the kind of workload does not use, or that it lacks."""
    kind = spec.kind
    if kind == "CronJob" and spec.cron_job is None:
        yield ("kind",), "a CronJob needs `cronJob` with a schedule, as in `cronJob: {schedule: '30 2 * * *'}`"
    if kind != "CronJob" and spec.cron_job is not None:
        yield ("cronJob",), f"`cronJob` needs `kind: CronJob`, and this is a {kind}; change one of the two"
    for key, reason in _UNUSED.get(kind, {}).items():
        if key in given:
            yield (key,), f"a {kind} {reason}; remove `{key}`"
    if kind == "Worker":
        asked = [name for name, probe in spec.health.probes(kind).items() if probe.needs_port]
        for path in dict.fromkeys(("health", name) if getattr(spec.health, name) else ("health",) for name in asked):
            yield path, "a Worker has no port of its own to probe; give the probe a `port`, or use `exec`"


def _values(spec: ServiceSpec) -> Problems:
    given = ({"PORT"} if spec.has_port else set()) | {url_variable(callee) for callee in spec.calls}
    for name in sorted((given & set(spec.env)) | (given & set(spec.secrets))):
        yield ("env", name), f"{name} is set by Slipway itself; choose another name"
    for name in sorted(set(spec.env) & set(spec.secrets)):
        yield ("env", name), f"{name} is both in `env` and in `secrets`; keep one"
    if (spec.secret_names or spec.build.secrets) and spec.name in RESERVED_NAMESPACES:
        yield (
            ("secrets",) if spec.secrets else ("files",) if spec.secret_names else ("build", "secrets"),
            f"secrets of {spec.name} cannot be set: keys that begin with `{spec.name}:` are reserved in a stack's "
            "configuration; give the service another name",
        )
    lists: dict[str, Sequence[str]] = {
        "calls": spec.calls,
        "secrets": spec.secrets,
        "imagePullSecrets": spec.image_pull_secrets,
        "build.secrets": spec.build.secrets,
        "build.ssh": spec.build.ssh,
        "build.platforms": spec.build.platforms,
    }
    for key, values in lists.items():
        for name in sorted({value for value in values if values.count(value) > 1}):
            yield tuple(key.split(".")), f"{name} is listed twice"
    if spec.name in spec.calls:
        yield ("calls",), f"{spec.name} calls itself; name other services only"
    if spec.autoscaling and spec.autoscaling.min_replicas > spec.autoscaling.max_replicas:
        yield (
            ("autoscaling",),
            f"minReplicas {spec.autoscaling.min_replicas} is more than maxReplicas {spec.autoscaling.max_replicas}",
        )
    if spec.service.node_port and spec.service.type == "ClusterIP":
        yield ("service", "nodePort"), "nodePort needs `type: NodePort` or `type: LoadBalancer`"
    if spec.rollout.min_ready_seconds >= spec.rollout.progress_deadline_seconds:
        yield ("rollout",), "minReadySeconds must be less than progressDeadlineSeconds, or no rollout can end"


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
        if not isinstance(container, Sidecar):
            continue
        known: set[int | str] = {each for port in container.ports for each in (port.name, port.container_port)}
        shown = ", ".join(map(str, sorted(known, key=str))) or "none, until it has `ports`"
        for key, probe in (
            ("startupProbe", container.startup_probe),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
        ):
            handler = probe and (probe.http_get or probe.tcp_socket or probe.grpc)
            if handler and handler.port not in known:
                yield (
                    (*at, key),
                    f"`{key}` uses port {handler.port!r}, which the container does not have; allowed: {shown}",
                )


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


def _metadata(spec: ServiceSpec) -> Problems:
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


def _build(spec: ServiceSpec) -> Problems:
    if BASE_IMAGE_ARGUMENT in spec.build.args:
        yield (
            ("build", "args", BASE_IMAGE_ARGUMENT),
            f"{BASE_IMAGE_ARGUMENT} is set by Slipway itself, from `slipway:baseImage`; choose another name",
        )
    if spec.build.test_target == spec.build.target:
        yield ("build", "testTarget"), f"`{spec.build.target}` is also the `target`; choose another stage"
    if spec.image:
        for key in ("build", "contexts"):
            if key in spec.model_fields_set:
                yield (key,), f"`image` is built elsewhere, so `{key}` has no effect; keep one of the two"


def _oversized(spec: ServiceSpec) -> Problems:
    """Values too large for a process, ConfigMap or annotation."""
    for name, value in spec.literal_env.items():
        if problem := variable_problem(name, value):
            yield ("env", name), f"`env.{name}` {problem}"
    size = sum(len(value.encode()) for value in config_data(spec).values())
    if size > OBJECT_MAX_BYTES:
        yield (
            ("env",),
            f"`env` has {size:,} bytes in all, and a ConfigMap holds {OBJECT_MAX_BYTES:,}; put some into the image",
        )
    size = len(json.dumps([check.recorded() for check in spec.checks]).encode())
    if size > ANNOTATIONS_MAX_BYTES - ANNOTATIONS_RESERVED_BYTES:
        yield (
            ("checks",),
            f"`checks` have {size:,} bytes, and the annotation that records them holds "
            f"{ANNOTATIONS_MAX_BYTES - ANNOTATIONS_RESERVED_BYTES:,}; shorten their `has`",
        )
