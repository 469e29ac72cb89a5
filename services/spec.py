"""What `service.yaml` may say: the typed, validated description of one service."""

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

from services.model import AbsolutePath, Model, Port, Seconds, absolute_path
from services.quantities import Cores, Memory, Storage
from services.workloads import CronJobSpec, Health, Kind, Migration

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#rfc-1035-label-names, shorter because
# `<name>-<8 hex>` names the ConfigMap and `<name>-<10>-<5>` the pods.
NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_MAX_LENGTH = 46
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
SUBDOMAIN_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
SUBDOMAIN_MAX_LENGTH = 253
LABEL_MAX_LENGTH = 63
# What the build of a service's unit tests is called, behind the name of the service: both are resources of the stack.
TEST_SUFFIX = "-test"
# A service's ServiceAccount is called as the service is, and this one is there already.
# https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts
DEFAULT_ACCOUNT = "default"
# Of `NAME=value` with its final NUL: MAX_ARG_STRLEN of Linux, above which no process can be started.
# https://man7.org/linux/man-pages/man2/execve.2.html
VARIABLE_MAX_BYTES = 128 * 1024
# Of all values in a ConfigMap or Secret. https://kubernetes.io/docs/concepts/configuration/configmap/#motivation
OBJECT_MAX_BYTES = 1024 * 1024
# Of all annotations of an object: TotalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation.
ANNOTATIONS_MAX_BYTES = 256 * 1024
# Of a key in a ConfigMap or Secret: DNS1123SubdomainMaxLength of k8s.io/apimachinery/pkg/util/validation.
KEY_MAX_LENGTH = 253
# What a Dockerfile may write behind `--from=`. A context called as one of its stages would take that stage's place.
CONTEXT_NAME_PATTERN = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
STAGES = ("test", "runtime")
# https://pkg.go.dev/github.com/distribution/reference
PINNED_IMAGE_PATTERN = re.compile(r"[a-z0-9.:_/\[\]-]*[a-z0-9](:\w[-.\w]{0,127})?@sha256:[0-9a-f]{64}", re.ASCII)
# What the program itself hands to each build.
BASE_IMAGE_ARGUMENT = "BASE_IMAGE"
ENV_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HEADER_NAME_PATTERN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
JSON_STEP_PATTERN = re.compile(
    r"""\.(?P<name>[^\W\d][\w-]*)|\[(?P<index>-?\d+)\]|\[(?P<quoted>"[^"\\]*"|'[^'\\]*')\]"""
)
METHODS = ("get", "head", "post")


def _number_as_text(value: object) -> object:
    """`PORT: 8080` is a number to YAML and text to a process."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _env_value(value: object) -> object:
    if isinstance(value, bool) or value is None:
        raise ValueError(f'must be text; put it in quotes, as in "{str(value).lower()}"')
    return _number_as_text(value)


def variable_problem(name: str, value: str) -> str:
    """Why no process can have the value in an environment variable, without the value; empty where it can."""
    if "\0" in value:
        return "has a NUL character, which no environment variable can hold"
    size = len(f"{name}={value}\0".encode())
    if size > VARIABLE_MAX_BYTES:
        return (
            f"has {size:,} bytes with its name, and Linux starts no process with more than {VARIABLE_MAX_BYTES:,} in "
            "one variable; put it into the image, or where the service can fetch it"
        )
    return ""


def service_name(text: str) -> str:
    """The text itself when it can name a service and its objects; raises ValueError: what was met, what is allowed."""
    if NAME_PATTERN.fullmatch(text) is None or len(text) > NAME_MAX_LENGTH:
        raise ValueError(
            f"{text!r} is not a DNS label: lower-case letters, digits and '-', a letter first, "
            f"no '-' at the end, at most {NAME_MAX_LENGTH} characters"
        )
    if text.endswith(TEST_SUFFIX):
        tested = text.removesuffix(TEST_SUFFIX)
        raise ValueError(
            f"{text!r} is what the unit tests of a service {tested!r} are called: names with another ending"
        )
    if text == DEFAULT_ACCOUNT:
        raise ValueError(
            f"{text!r} is a ServiceAccount that every namespace has: other names, such as 'default-service'"
        )
    return text


def _env_name(text: str) -> str:
    if ENV_NAME_PATTERN.fullmatch(text) is None or len(text) > KEY_MAX_LENGTH:
        raise ValueError(
            f"{text!r} cannot name an environment variable: letters, digits and '_', no digit first, at most "
            f"{KEY_MAX_LENGTH} characters"
        )
    return text


def _context_name(text: str) -> str:
    if CONTEXT_NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} cannot name a build context: lower-case letters and digits, with '.', '_', '-' between"
        )
    if text in STAGES:
        raise ValueError(f"{text!r} is a stage of the Dockerfile, which would not be built: names other than that")
    return text


def _stage_name(text: str) -> str:
    if CONTEXT_NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a stage: lower-case letters and digits, with '.', '_', '-' between")
    return text


def _pinned_image(text: str) -> str:
    if PINNED_IMAGE_PATTERN.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} is not pinned to a digest; allowed is an image as in registry.example/team/redis@sha256: and 64 "
            "hex digits: what a tag names may change"
        )
    return text


def _relative_path(text: str) -> str:
    if not text or text.startswith("/") or "://" in text:
        raise ValueError(f"{text!r} is nothing of this repository: give a path from service.yaml, like '../kit'")
    return text


def _writable_path(text: str) -> str:
    if text != absolute_path(text).rstrip("/") or ":" in text or ".." in text.split("/"):
        raise ValueError(f"{text!r} cannot be mounted: give a folder other than '/', without '..', ':' or a last '/'")
    return text


def _address_range(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are ranges like 10.0.0.0/8 or 2001:db8::/32") from error


def json_path_keys(path: str) -> list[str | int]:
    """The keys and indexes that a path leads along: `$.users[0].name` gives `["users", 0, "name"]`.

    Raises ValueError for anything but a path to one value. https://www.rfc-editor.org/rfc/rfc9535#name-singular-queries
    """
    steps = path.removeprefix("$")
    if path == steps or JSON_STEP_PATTERN.sub("", steps):
        raise ValueError(
            f"{path!r} is no path to one value of a JSON body; allowed are `$`, names and indexes, as in "
            '`$.users[0].name` or `$["full name"]`'
        )
    found = JSON_STEP_PATTERN.finditer(steps)
    return [int(each["index"]) if each["index"] else each["name"] or each["quoted"][1:-1] for each in found]


def _json_path(text: str) -> str:
    json_path_keys(text)
    return text


def _header_name(text: str) -> str:
    if HEADER_NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name an HTTP header: letters, digits and '-'")
    return text


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} cannot be sent as an HTTP header: printable ASCII on one line")
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


def _subdomain(text: str) -> str:
    if SUBDOMAIN_PATTERN.fullmatch(text) is None or len(text) > SUBDOMAIN_MAX_LENGTH:
        raise ValueError(
            f"{text!r} is not a name of Kubernetes: lower-case letters, digits, '-' and '.', neither at an end, "
            f"at most {SUBDOMAIN_MAX_LENGTH} characters"
        )
    return text


Name = Annotated[StrictStr, AfterValidator(service_name)]
SubdomainName = Annotated[StrictStr, AfterValidator(_subdomain)]
Host = Annotated[
    StrictStr, AfterValidator(_host), Field(json_schema_extra={"pattern": rf"^(\*\.)?{SUBDOMAIN_PATTERN.pattern}$"})
]
EnvName = Annotated[StrictStr, AfterValidator(_env_name)]
ContextName = Annotated[StrictStr, AfterValidator(_context_name)]
RelativePath = Annotated[StrictStr, AfterValidator(_relative_path)]
StageName = Annotated[StrictStr, AfterValidator(_stage_name)]
# Of docker-build's own; pods run on Linux. https://www.pulumi.com/registry/packages/docker-build/api-docs/image/#platform
Platform = Literal[
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm64",
    "linux/mips64",
    "linux/mips64le",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
]
PinnedImage = Annotated[StrictStr, AfterValidator(_pinned_image)]
EnvValue = Annotated[str, BeforeValidator(_env_value)]
WritablePath = Annotated[StrictStr, AfterValidator(_writable_path)]
JsonPath = Annotated[StrictStr, AfterValidator(_json_path)]
HeaderName = Annotated[StrictStr, AfterValidator(_header_name)]
HeaderValue = Annotated[str, BeforeValidator(_env_value), AfterValidator(_header_value)]


class Build(Model):
    """What the image is built from and with, under the names that Docker and Compose have for it.

    `context` and `dockerfile` are paths from service.yaml; `secrets` are ids of `RUN --mount=type=secret`, `ssh` those
    of `--mount=type=ssh`; `test_target` is None for a service without unit tests.
    """

    context: RelativePath = "."
    dockerfile: RelativePath = "Dockerfile"
    args: dict[EnvName, EnvValue] = {}
    secrets: list[EnvName] = []
    ssh: list[StageName] = []
    platforms: list[Platform] = []
    target: StageName = STAGES[1]
    test_target: StageName | None = STAGES[0]


class Resources(Model):
    """Requests of one pod; memory and ephemeral storage are limits too, cpu is not (no throttling)."""

    cpu: Cores = "50m"
    memory: Memory = "128Mi"
    ephemeral_storage: Storage = "256Mi"


class Check(Model):
    """A request that every ready pod behind the Service is asked after every rollout, and the answer that it must give.

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
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=600)] | None = None

    @property
    def method(self) -> str:
        return next(name for name in METHODS if getattr(self, name) is not None).upper()

    @property
    def path(self) -> str:
        return str(getattr(self, self.method.lower()))

    def recorded(self) -> dict[str, Any]:
        """What the check says, in the keys of service.yaml."""
        fields = self.model_dump(by_alias=True, include={*self.model_fields_set, "status"})
        return {key: value for key, value in fields.items() if value is not None}

    @model_validator(mode="after")
    def _is_one_request(self) -> Check:
        methods = [name for name in METHODS if getattr(self, name) is not None]
        if len(methods) != 1:
            met = f"{' and '.join(methods)} are given" if methods else "none is given"
            raise ValueError(f"{met}; give one of `get`, `head` and `post`, with the path to ask for")
        if self.body is not None and self.post is None:
            raise ValueError(f"`body` goes with `post`, and this check has `{methods[0]}`")
        if self.head is not None and (self.has is not None or self.json_values):
            raise ValueError("an answer to `head` has no body: `has` and `json` go with `get` and `post`")
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
    """Reached from outside under `https://host/path`, or http where no TLS secret is named."""

    host: Host
    path: AbsolutePath = "/"
    class_name: SubdomainName | None = None
    tls_secret_name: SubdomainName | None = None


class Exposure(Model):
    """The type of the Kubernetes Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    node_port: Annotated[StrictInt, Field(ge=30000, le=32767)] | None = None


class RolloutSpec(Model):
    """How careful an update is."""

    min_ready_seconds: Annotated[StrictInt, Field(ge=0, le=600)] = 0
    progress_deadline_seconds: Annotated[StrictInt, Field(ge=10, le=540)] = 120
    termination_grace_period_seconds: Seconds = 30


class ServiceSpec(Model):
    """One service as `services/<folder>/service.yaml` describes it."""

    name: Name
    kind: Kind = "Service"
    # Below 1024 the kernel asks for a capability that restricted pods do not have.
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] = 8080
    image: PinnedImage | None = None
    build: Build = Build()
    contexts: dict[ContextName, RelativePath] = {}
    replicas: Annotated[StrictInt, Field(ge=0, le=1000)] = 1
    resources: Resources = Resources()
    env: dict[EnvName, EnvValue] = {}
    secrets: list[EnvName] = []
    image_pull_secrets: list[SubdomainName] = []
    calls: list[Name] = []
    egress: list[Egress] = []
    scratch: dict[WritablePath, Storage] = {}
    health: Health = Health()
    checks: list[Check] = []
    service: Exposure = Exposure()
    ingress: Ingress | None = None
    autoscaling: Autoscaling | None = None
    rollout: RolloutSpec = RolloutSpec()
    cron_job: CronJobSpec | None = None
    migration: Migration | None = None

    @property
    def active_checks(self) -> list[Check]:
        """The checks that some pod can answer: none of a service that is scaled to zero, or that has no port."""
        return self.checks if self.has_port and (self.autoscaling or self.replicas) else []

    @property
    def has_port(self) -> bool:
        """Whether something can connect to it."""
        return self.kind == "Service"
