"""The model of `service.yaml`: the typed, validated description of one service."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StrictStr,
    model_validator,
)

from services.builds import Build, ContextName, RelativePath
from services.containers import (
    ContainerPort,
    EnvEntry,
    EnvFrom,
    FileSource,
    ImageByDigest,
    InitContainer,
    ServiceAccount,
    Sidecar,
    Volume,
)
from services.fields import (
    LABEL_MAX_LENGTH,
    SUBDOMAIN_MAX_LENGTH,
    SUBDOMAIN_PATTERN,
    AbsolutePath,
    Annotations,
    EnvName,
    Labels,
    Model,
    Port,
    PortName,
    Resources,
    Seconds,
    SubdomainName,
    WritablePath,
    env_value,
    matching,
)
from services.quantities import Storage
from services.workloads import (
    Affinity,
    CronJobSpec,
    DnsConfig,
    DnsPolicy,
    Health,
    HostAlias,
    Kind,
    Migration,
    Toleration,
    TopologySpreadConstraint,
)
from services.yaml_source import KeyPath

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#rfc-1035-label-names, shorter because
# `<name>-<8 hex>` names the ConfigMap and `<name>-<10>-<5>` the pods.
NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_MAX_LENGTH = 46
# The build of a service's unit tests has this after the service's name: both are resources of the stack.
TEST_SUFFIX = "-test"
# A service's ServiceAccount has the service's name, and this one exists already.
# https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts
DEFAULT_ACCOUNT = "default"
# For `NAME=value` with its final NUL: MAX_ARG_STRLEN of Linux, above which no process can be started.
# https://man7.org/linux/man-pages/man2/execve.2.html
VARIABLE_MAX_BYTES = 128 * 1024
# For all values in a ConfigMap or Secret. https://kubernetes.io/docs/concepts/configuration/configmap/#motivation
OBJECT_MAX_BYTES = 1024 * 1024
# The name of the service's own port, and its number in the Service.
PORT_NAME, SERVICE_PORT = "http", 80
# The writable folders that every container has; the rest of its file system is read-only.
TMP = {"/tmp": "64Mi"}  # noqa: S108 (a mount path in the pod)
HEADER_NAME_PATTERN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE_PATTERN = re.compile(r"[ -~]*")
JSON_STEP_PATTERN = re.compile(
    r"""\.(?P<name>[^\W\d][\w-]*)|\[(?P<index>-?\d+)\]|\[(?P<quoted>"[^"\\]*"|'[^'\\]*')\]"""
)
METHODS = ("get", "head", "post")


def variable_problem(name: str, value: str) -> str:
    """Why no process can have the value in an environment variable, without the value; empty if it can."""
    if "\0" in value:
        return "has a NUL character, which no environment variable can hold"
    size = len(f"{name}={value}\0".encode())
    if size > VARIABLE_MAX_BYTES:
        return (
            f"has {size:,} bytes with its name, and Linux starts no process with more than {VARIABLE_MAX_BYTES:,} in "
            "one variable; put it into the image, or let the service fetch it"
        )
    return ""


def service_name(text: str) -> str:
    """The text if it can name a service and its objects; raises ValueError with what was found and is allowed."""
    if NAME_PATTERN.fullmatch(text) is None or len(text) > NAME_MAX_LENGTH:
        raise ValueError(
            f"{text!r} is not a DNS label: lower-case letters, digits and '-', a letter first, "
            f"no '-' at the end, at most {NAME_MAX_LENGTH} characters"
        )
    if text.endswith(TEST_SUFFIX):
        tested = text.removesuffix(TEST_SUFFIX)
        raise ValueError(
            f"{text!r} is the name of the unit tests of a service {tested!r}: choose a name with another ending"
        )
    if text == DEFAULT_ACCOUNT:
        raise ValueError(
            f"{text!r} is a ServiceAccount that every namespace has: choose another name, such as 'default-service'"
        )
    return text


def _address_range(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are ranges like 10.0.0.0/8 or 2001:db8::/32") from error


def json_path_keys(path: str) -> list[str | int]:
    """The keys and indexes in a path: `$.users[0].name` gives `["users", 0, "name"]`.

    Raises ValueError for anything but a path to one value. https://www.rfc-editor.org/rfc/rfc9535#name-singular-queries
    """
    steps = path.removeprefix("$")
    if path == steps or JSON_STEP_PATTERN.sub("", steps):
        raise ValueError(
            f"{path!r} is not a path to one value of a JSON body; allowed are `$`, names and indexes, as in "
            '`$.users[0].name` or `$["full name"]`'
        )
    found = JSON_STEP_PATTERN.finditer(steps)
    return [int(each["index"]) if each["index"] else each["name"] or each["quoted"][1:-1] for each in found]


def _json_path(text: str) -> str:
    json_path_keys(text)
    return text


def _host(text: str) -> str:
    labels = text.removeprefix("*.")
    is_short = len(text) <= SUBDOMAIN_MAX_LENGTH and all(len(label) <= LABEL_MAX_LENGTH for label in labels.split("."))
    if SUBDOMAIN_PATTERN.fullmatch(labels) is None or not is_short:
        raise ValueError(
            f"{text!r} is not a host name like shop.example or *.a.example: lower-case letters, digits, '-', '.', at "
            f"most {LABEL_MAX_LENGTH} characters between two dots and {SUBDOMAIN_MAX_LENGTH} in all"
        )
    return text


Name = Annotated[StrictStr, AfterValidator(service_name)]
Host = Annotated[
    StrictStr, AfterValidator(_host), Field(json_schema_extra={"pattern": rf"^(\*\.)?{SUBDOMAIN_PATTERN.pattern}$"})
]
JsonPath = Annotated[StrictStr, AfterValidator(_json_path)]
HeaderName = Annotated[StrictStr, matching(HEADER_NAME_PATTERN, "cannot name an HTTP header: letters, digits and '-'")]
HeaderValue = Annotated[
    str,
    BeforeValidator(env_value),
    matching(HEADER_VALUE_PATTERN, "cannot be sent as an HTTP header: printable ASCII on one line"),
]


class Check(Model):
    """A request to every ready pod behind the Service, after every rollout, and the answer that the pod must give.

    The first answer counts: no redirect is followed.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in METHODS]})

    get: AbsolutePath | None = None
    head: AbsolutePath | None = None
    post: AbsolutePath | None = None
    body: JsonValue = None
    headers: dict[HeaderName, HeaderValue] = {}
    status: Annotated[StrictInt, Field(ge=100, le=599)] = 200
    has: StrictStr | None = None
    json_values: Annotated[dict[JsonPath, JsonValue], Field(alias="json")] = {}
    port: PortName | None = None
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=600)] | None = None

    @property
    def method(self) -> str:
        return next(name for name in METHODS if getattr(self, name) is not None).upper()

    @property
    def path(self) -> str:
        return str(getattr(self, self.method.lower()))

    def recorded(self) -> dict[str, Any]:
        """The check as a mapping with the keys of service.yaml."""
        fields = self.model_dump(by_alias=True, include={*self.model_fields_set, "status"})
        return {key: value for key, value in fields.items() if value is not None}

    @model_validator(mode="after")
    def _is_one_request(self) -> Check:
        methods = [name for name in METHODS if getattr(self, name) is not None]
        if len(methods) != 1:
            met = f"{' and '.join(methods)} are given" if methods else "none is given"
            raise ValueError(f"{met}; give one of `get`, `head` and `post`, with the path to ask for")
        if self.body is not None and self.post is None:
            raise ValueError(f"`body` needs `post`, and this check has `{methods[0]}`")
        if self.head is not None and (self.has is not None or self.json_values):
            raise ValueError("an answer to `head` has no body: `has` and `json` need `get` or `post`")
        return self


class Egress(Model):
    """An address range and TCP port the service may open connections to, besides DNS and the services it calls.

    Without a range: any address, IPv4 or IPv6.
    """

    cidr: Annotated[StrictStr, AfterValidator(_address_range)] | None = None
    port: Port


class Autoscaling(Model):
    """A HorizontalPodAutoscaler on CPU use, in percent of the requested cpu."""

    min_replicas: Annotated[StrictInt, Field(ge=1)]
    max_replicas: Annotated[StrictInt, Field(ge=1)]
    cpu_percent: Annotated[StrictInt, Field(ge=1, le=100)] = 70


class Ingress(Model):
    """Opens the service to the outside at `https://host/path`, or http if no TLS secret is named."""

    host: Host
    path: AbsolutePath = "/"
    class_name: SubdomainName | None = None
    tls_secret_name: SubdomainName | None = None
    annotations: Annotations = {}


class Exposure(Model):
    """The type of the Kubernetes Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    node_port: Annotated[StrictInt, Field(ge=30000, le=32767)] | None = None
    annotations: Annotations = {}


class RolloutSpec(Model):
    """The timing of a rollout."""

    min_ready_seconds: Annotated[StrictInt, Field(ge=0, le=600)] = 0
    progress_deadline_seconds: Annotated[StrictInt, Field(ge=10, le=540)] = 120
    termination_grace_period_seconds: Seconds = 30


class ServiceSpec(Model):
    """One service as `services/<folder>/service.yaml` describes it."""

    name: Name
    kind: Kind = "Service"
    # Below 1024 the kernel requires a capability that restricted pods do not have.
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] = 8080
    image: ImageByDigest | None = None
    build: Build = Build()
    ports: list[ContainerPort] = []
    contexts: dict[ContextName, RelativePath] = {}
    command: list[StrictStr] = []
    args: list[StrictStr] = []
    replicas: Annotated[StrictInt, Field(ge=0, le=1000)] = 1
    resources: Resources = Resources()
    env: dict[EnvName, EnvEntry] = {}
    env_from: list[EnvFrom] = []
    secrets: list[EnvName] = []
    files: dict[WritablePath, FileSource] = {}
    volumes: list[Volume] = []
    image_pull_secrets: list[SubdomainName] = []
    init_containers: list[InitContainer] = []
    sidecars: list[Sidecar] = []
    calls: list[Name] = []
    egress: list[Egress] = []
    scratch: dict[WritablePath, Storage] = {}
    health: Health = Health()
    checks: list[Check] = []
    service: Exposure = Exposure()
    ingress: Ingress | None = None
    autoscaling: Autoscaling | None = None
    rollout: RolloutSpec = RolloutSpec()
    labels: Labels = {}
    annotations: Annotations = {}
    service_account: ServiceAccount = ServiceAccount()
    node_selector: Labels = {}
    tolerations: list[Toleration] = []
    affinity: Affinity | None = None
    priority_class_name: SubdomainName | None = None
    topology_spread_constraints: list[TopologySpreadConstraint] = []
    host_aliases: list[HostAlias] = []
    dns_policy: DnsPolicy | None = None
    dns_config: DnsConfig | None = None
    cron_job: CronJobSpec | None = None
    migration: Migration | None = None

    @property
    def active_checks(self) -> list[Check]:
        """The checks that a pod can answer: none if the service is scaled to zero or has no port."""
        return self.checks if self.has_port and (self.autoscaling or self.replicas) else []

    @property
    def has_port(self) -> bool:
        """Whether the service has a port of its own."""
        return self.kind == "Service"

    @property
    def literal_env(self) -> dict[str, str]:
        """The variables of `env` with a literal value."""
        return {name: value for name, value in self.env.items() if isinstance(value, str)}

    @property
    def containers(self) -> list[tuple[KeyPath, ServiceSpec | InitContainer]]:
        """The service's own container and all others, in the order in which they are described, with their paths."""
        return [
            ((), self),
            *((("initContainers", index), each) for index, each in enumerate(self.init_containers)),
            *((("sidecars", index), each) for index, each in enumerate(self.sidecars)),
        ]

    @property
    def secret_names(self) -> list[str]:
        """All secrets of its pods: the variables of `secrets`, and the secrets in `files`."""
        in_files = [file.secret for _, each in self.containers for file in each.files.values() if file.secret]
        return list(dict.fromkeys([*self.secrets, *in_files]))

    def claim_name(self, volume: Volume) -> str:
        """The name of a volume's PersistentVolumeClaim, the service's own or another; empty if it has none."""
        claim = volume.persistent_volume_claim
        return (claim.claim_name or f"{self.name}-{volume.name}") if claim else ""

    @property
    def is_exclusive(self) -> bool:
        """Whether two of its pods cannot run at once: they would need one volume that only one node may mount."""
        claims = [volume.persistent_volume_claim for volume in self.volumes if volume.persistent_volume_claim]
        return not all(claim.is_shared for claim in claims)


def config_data(spec: ServiceSpec) -> dict[str, str]:
    """The data of the service's ConfigMap: its port, its `env`, and the address of each service that it calls."""
    urls = {url_variable(callee): f"http://{callee}" for callee in spec.calls}
    port = {"PORT": str(spec.port)} if spec.has_port else {}
    return {**port, **spec.literal_env, **urls}


def url_variable(callee: str) -> str:
    """Environment variable with a called service's address: `user-service` gives `USER_SERVICE_URL`."""
    return callee.upper().replace("-", "_") + "_URL"
