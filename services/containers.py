"""The parts of a service's pods besides its own image: ports, variables, files, volumes, and other containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from services.fields import (
    RELATIVE_PATH_PATTERN,
    AbsolutePath,
    Annotations,
    EnvName,
    EnvValue,
    LabelName,
    Model,
    Port,
    PortName,
    Resources,
    SubdomainName,
    WritablePath,
    matching,
    port_name,
)
from services.quantities import Storage

IMAGE_PATTERN = re.compile(r"[a-z0-9][\w.:/-]*@sha256:[0-9a-f]{64}", re.ASCII)
# https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-object
KEY_PATTERN = re.compile(r"[-._a-zA-Z0-9]+", re.ASCII)
PORT_MAX = 65535
# Volumes that the program names itself.
OWN_VOLUMES = re.compile(r"(scratch|files)(-.*)?")


def _volume_name(text: str) -> str:
    if OWN_VOLUMES.fullmatch(text):
        raise ValueError(f"{text!r} is used by Slipway: choose a name that does not begin with scratch or files")
    return text


def one_of(model: Model, *names: str) -> str:
    """The one of these fields that is given; raises ValueError if none or several are."""
    given = [name for name in names if getattr(model, name) is not None]
    keys = [f"`{type(model).model_fields[name].alias or name}`" for name in names]
    if len(given) != 1:
        met = f"{' and '.join(keys[names.index(name)] for name in given)} are given" if given else "none is given"
        raise ValueError(f"{met}; give one of {', '.join(keys[:-1])} and {keys[-1]}")
    return given[0]


def _port_reference(value: Any) -> int | str:
    if isinstance(value, str):
        return port_name(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= PORT_MAX:
        raise ValueError(f"{value!r} is not a port: give a name in the container's `ports`, or a number to {PORT_MAX}")
    return value


ImageByDigest = Annotated[
    StrictStr,
    matching(
        IMAGE_PATTERN,
        "is not an image with a digest; allowed: registry/repository@sha256: and 64 hex digits. A tag "
        "can be moved, and the tested image would not be the one that runs",
    ),
]
ObjectKey = Annotated[
    StrictStr,
    matching(KEY_PATTERN, "cannot be a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.'"),
]
SourcePath = Annotated[
    StrictStr,
    matching(RELATIVE_PATH_PATTERN, "is not in this repository: give a path relative to service.yaml, like 'app.toml'"),
]
VolumeName = Annotated[LabelName, AfterValidator(_volume_name)]
PortReference = Annotated[
    int | str, PlainValidator(_port_reference), WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})
]
Words = list[StrictStr]


class ContainerPort(Model):
    """A port of a container besides the service's own. The Service has it under `port`, or under the same number if
    `port` is not given.
    """

    name: PortName
    # Below 1024 the kernel requires a capability that restricted pods do not have.
    container_port: Annotated[StrictInt, Field(ge=1024, le=65535)]
    port: Port | None = None
    protocol: Literal["TCP", "UDP"] = "TCP"

    @property
    def service_port(self) -> int:
        return self.port or self.container_port


class KeyReference(Model):
    """A value of a Secret or ConfigMap in the namespace, which is created elsewhere."""

    name: SubdomainName
    key: ObjectKey
    optional: StrictBool = False


class FieldReference(Model):
    """A field of the pod, such as `metadata.name` or `status.podIP`."""

    field_path: Annotated[
        StrictStr,
        Field(pattern=r"^(metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[^']+'\]|spec\.(nodeName|"
              r"serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs))$"),
    ]  # fmt: skip


class ValueSource(Model):
    """Where a variable's value comes from when the container starts."""

    secret_key_ref: KeyReference | None = None
    config_map_key_ref: KeyReference | None = None
    field_ref: FieldReference | None = None

    @model_validator(mode="after")
    def _is_one(self) -> ValueSource:
        one_of(self, "secret_key_ref", "config_map_key_ref", "field_ref")
        return self


class EnvSource(Model):
    """A variable whose value comes from elsewhere: `{valueFrom: {secretKeyRef: {name: …, key: …}}}`."""

    value_from: ValueSource


def _kind_of_entry(value: Any) -> str:
    return "[reference]" if isinstance(value, Mapping | Model) else "[text]"


# The tags appear in the location of an error; their brackets tell them from keys of the file.
EnvEntry = Annotated[
    Annotated[EnvSource, Tag("[reference]")] | Annotated[EnvValue, Tag("[text]")], Discriminator(_kind_of_entry)
]


class ObjectReference(Model):
    """A Secret or ConfigMap in the namespace, which is created elsewhere."""

    name: SubdomainName
    optional: StrictBool = False


class EnvFrom(Model):
    """Every key of a Secret or ConfigMap as a variable, with `prefix` before its name."""

    secret_ref: ObjectReference | None = None
    config_map_ref: ObjectReference | None = None
    prefix: EnvName | None = None

    @model_validator(mode="after")
    def _is_one(self) -> EnvFrom:
        one_of(self, "secret_ref", "config_map_ref")
        return self


def _or_text(schema: dict[str, Any]) -> None:
    """A path alone is a `source`."""
    whole = dict(schema)
    schema.clear()
    schema.update({"anyOf": [{"type": "string"}, whole]})


class FileSource(Model):
    """A read-only file: one of the repository, a text, or a secret. A path alone means `source`."""

    model_config = ConfigDict(json_schema_extra=_or_text)

    source: SourcePath | None = None
    content: StrictStr | None = None
    secret: EnvName | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one(self) -> FileSource:
        one_of(self, "source", "content", "secret")
        return self


class ClaimRequests(Model):
    """How much storage a claim requests."""

    storage: Storage


class ClaimResources(Model):
    """https://kubernetes.io/docs/concepts/storage/persistent-volumes/#resources"""

    requests: ClaimRequests


class Claim(Model):
    """A PersistentVolumeClaim: one that is created elsewhere (`claimName`), or the spec of the service's own."""

    claim_name: SubdomainName | None = None
    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany"]], Field(min_length=1)
    ] = ["ReadWriteOnce"]
    storage_class_name: Annotated[StrictStr, Field(max_length=253)] | None = None
    volume_name: SubdomainName | None = None
    resources: ClaimResources | None = None

    @property
    def is_shared(self) -> bool:
        """Whether pods on several nodes may mount it at once."""
        return bool({"ReadWriteMany", "ReadOnlyMany"} & set(self.access_modes))

    @model_validator(mode="after")
    def _is_named_or_made(self) -> Claim:
        if self.claim_name and (self.resources or self.storage_class_name is not None or self.volume_name):
            raise ValueError(
                "`claimName` is an existing claim; `resources`, `storageClassName` and `volumeName` are for a new one: "
                "give one or the other"
            )
        if not self.claim_name and not self.resources:
            raise ValueError(
                "give `resources: {requests: {storage: 1Gi}}` for a new claim, or `claimName` for an existing one"
            )
        return self


class EmptyDir(Model):
    """Deleted with the pod, like `scratch`; it has a name, so that several containers can mount it."""

    size_limit: Storage = "64Mi"


class KeyPathItem(Model):
    """A key of a Secret or ConfigMap, and the file that it becomes."""

    key: ObjectKey
    path: SourcePath


class SecretVolume(Model):
    """A Secret that is created elsewhere, one file per key; running pods see its changes."""

    secret_name: SubdomainName
    items: list[KeyPathItem] = []
    optional: StrictBool = False


class ConfigMapVolume(Model):
    """A ConfigMap that is created elsewhere, one file per key; running pods see its changes."""

    name: SubdomainName
    items: list[KeyPathItem] = []
    optional: StrictBool = False


class Volume(Model):
    """A volume of the pod, and where the service's own container mounts it; other containers have `volumeMounts`."""

    name: VolumeName
    mount_path: WritablePath | None = None
    sub_path: SourcePath | None = None
    read_only: StrictBool = False
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Volume:
        one_of(self, "persistent_volume_claim", "empty_dir", "secret", "config_map")
        return self


class VolumeMount(Model):
    """Where a container other than the service's own mounts one of `volumes`."""

    name: VolumeName
    mount_path: WritablePath
    sub_path: SourcePath | None = None
    read_only: StrictBool = False


class HttpGetAction(Model):
    """A path of the container, and its port by name or number."""

    path: AbsolutePath = "/"
    port: PortReference
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class TcpSocketAction(Model):
    """A port that must accept connections."""

    port: PortReference


class GrpcAction(Model):
    """https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#define-a-grpc-liveness-probe"""

    port: Port
    service: StrictStr | None = None


class ExecAction(Model):
    """A command that must end with exit code 0."""

    command: Annotated[Words, Field(min_length=1)]


class SidecarProbe(Model):
    """https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe"""

    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    exec: ExecAction | None = None
    initial_delay_seconds: Annotated[StrictInt, Field(ge=0)] | None = None
    period_seconds: Annotated[StrictInt, Field(ge=1)] | None = None
    timeout_seconds: Annotated[StrictInt, Field(ge=1)] | None = None
    success_threshold: Annotated[StrictInt, Field(ge=1)] | None = None
    failure_threshold: Annotated[StrictInt, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> SidecarProbe:
        one_of(self, "http_get", "tcp_socket", "grpc", "exec")
        return self


class InitContainer(Model):
    """A container that runs to completion before the service starts. Without an `image` it has the service's own, with
    the service's variables and secrets.
    """

    name: LabelName
    image: ImageByDigest | None = None
    command: Words = []
    args: Words = []
    env: dict[EnvName, EnvEntry] = {}
    env_from: list[EnvFrom] = []
    files: dict[WritablePath, FileSource] = {}
    resources: Resources = Resources()
    scratch: dict[WritablePath, Storage] = {}
    volume_mounts: list[VolumeMount] = []


class Sidecar(InitContainer):
    """A container that starts before the service and runs as long as it does: an always restarted init container.

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """

    ports: list[ContainerPort] = []
    startup_probe: SidecarProbe | None = None
    liveness_probe: SidecarProbe | None = None
    readiness_probe: SidecarProbe | None = None


class ServiceAccount(Model):
    """The ServiceAccount of the service; annotations give it an identity in a cloud."""

    annotations: Annotations = {}
