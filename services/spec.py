"""What `service.yaml` may say: the typed, validated description of one service."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#rfc-1035-label-names, shorter because
# `<name>-<8 hex>` names the ConfigMap and `<name>-<10>-<5>` the pods.
NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_MAX_LENGTH = 46
# What the build of a service's unit tests is called, behind the name of the service: both are resources of the stack.
TEST_SUFFIX = "-test"
# A service's ServiceAccount is called as the service is, and this one is there already.
# https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts
DEFAULT_ACCOUNT = "default"
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY_PATTERN = re.compile(r"(\d+\.?\d*|\.\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
# What a Dockerfile may write behind `--from=`. A context called as one of its stages would take that stage's place.
CONTEXT_NAME_PATTERN = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
STAGES = ("test", "runtime")
ENV_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SCALE = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", start=1)
}


def quantity_value(quantity: str) -> float:
    """A Kubernetes quantity as a plain number: `"50m"` is 0.05, `"128Mi"` is 134217728.0.

    Raises ValueError when the text is no quantity.
    """
    match = QUANTITY_PATTERN.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity; allowed are forms like 250m, 0.5, 128Mi or 1Gi")
    return float(match[1]) * SCALE[match[2] or ""]


def _quantity(text: str) -> str:
    if quantity_value(text) <= 0:
        raise ValueError(f"{text!r} must be more than zero")
    return text


def _number_as_text(value: object) -> object:
    """`cpu: 1` and `PORT: 8080` are numbers to YAML and text to Kubernetes."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _env_value(value: object) -> object:
    if isinstance(value, bool) or value is None:
        raise ValueError(f'must be text; put it in quotes, as in "{str(value).lower()}"')
    return _number_as_text(value)


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
    if ENV_NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name an environment variable: letters, digits and '_', no digit first")
    return text


def _context_name(text: str) -> str:
    if CONTEXT_NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} cannot name a build context: lower-case letters and digits, with '.', '_', '-' between"
        )
    if text in STAGES:
        raise ValueError(f"{text!r} is a stage of the Dockerfile, which would not be built: names other than that")
    return text


def _relative_folder(text: str) -> str:
    if not text or text.startswith("/") or "://" in text:
        raise ValueError(f"{text!r} is no folder of this repository: a path from service.yaml, like '../kit'")
    return text


def _absolute_path(text: str) -> str:
    if not text.startswith("/") or any(character.isspace() for character in text):
        raise ValueError(f"{text!r} must start with '/' and have no blanks")
    return text


def _writable_path(text: str) -> str:
    if text != _absolute_path(text).rstrip("/") or ":" in text or ".." in text.split("/"):
        raise ValueError(f"{text!r} cannot be mounted: give a folder other than '/', without '..', ':' or a last '/'")
    return text


def _address_range(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are ranges like 10.0.0.0/8 or 2001:db8::/32") from error


Name = Annotated[StrictStr, AfterValidator(service_name)]
EnvName = Annotated[StrictStr, AfterValidator(_env_name)]
ContextName = Annotated[StrictStr, AfterValidator(_context_name)]
RelativeFolder = Annotated[StrictStr, AfterValidator(_relative_folder)]
Quantity = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_quantity)]
EnvValue = Annotated[str, BeforeValidator(_env_value)]
AbsolutePath = Annotated[StrictStr, AfterValidator(_absolute_path)]
WritablePath = Annotated[StrictStr, AfterValidator(_writable_path)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Seconds = Annotated[StrictInt, Field(ge=1, le=3600)]


class Model(BaseModel):
    """Unknown keys are refused, nothing changes after validation, keys are camelCase as in Kubernetes."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Resources(Model):
    """Requests of one pod; memory and ephemeral storage are limits too, cpu is not (no throttling)."""

    cpu: Quantity = "50m"
    memory: Quantity = "128Mi"
    ephemeral_storage: Quantity = "256Mi"


class Health(Model):
    """HTTP paths the kubelet asks: has it started, is it alive, may it get requests."""

    startup: AbsolutePath = "/healthz"
    live: AbsolutePath = "/healthz"
    ready: AbsolutePath = "/readyz"
    startup_timeout_seconds: Seconds = 60


class Check(Model):
    """A request asked through the Service after every rollout: GET `get` must answer `status` and contain `has`."""

    get: AbsolutePath
    status: Annotated[StrictInt, Field(ge=100, le=599)] = 200
    has: StrictStr | None = None


class Egress(Model):
    """An address range and TCP port the service may open connections to, besides DNS and the services it calls."""

    cidr: Annotated[StrictStr, AfterValidator(_address_range)] = "0.0.0.0/0"
    port: Port


class Autoscaling(Model):
    """A HorizontalPodAutoscaler on CPU use, in percent of the requested cpu."""

    min_replicas: Annotated[StrictInt, Field(ge=1)]
    max_replicas: Annotated[StrictInt, Field(ge=1)]
    cpu_percent: Annotated[StrictInt, Field(ge=1, le=100)] = 70


class Ingress(Model):
    """Reached from outside under `https://host/path`, or http where no TLS secret is named."""

    host: Annotated[
        StrictStr, Field(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    ]
    path: AbsolutePath = "/"
    class_name: StrictStr | None = None
    tls_secret_name: StrictStr | None = None


class Exposure(Model):
    """The type of the Kubernetes Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    node_port: Annotated[StrictInt, Field(ge=30000, le=32767)] | None = None


class Rollout(Model):
    """How careful an update is."""

    min_ready_seconds: Annotated[StrictInt, Field(ge=0, le=600)] = 0
    progress_deadline_seconds: Annotated[StrictInt, Field(ge=10, le=540)] = 120
    termination_grace_period_seconds: Seconds = 30


class ServiceSpec(Model):
    """One service as `services/<folder>/service.yaml` describes it."""

    name: Name
    # Below 1024 the kernel asks for a capability that restricted pods do not have.
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] = 8080
    contexts: dict[ContextName, RelativeFolder] = {}
    replicas: Annotated[StrictInt, Field(ge=0, le=1000)] = 1
    resources: Resources = Resources()
    env: dict[EnvName, EnvValue] = {}
    secrets: list[EnvName] = []
    calls: list[Name] = []
    egress: list[Egress] = []
    scratch: dict[WritablePath, Quantity] = {}
    health: Health = Health()
    checks: list[Check] = []
    service: Exposure = Exposure()
    ingress: Ingress | None = None
    autoscaling: Autoscaling | None = None
    rollout: Rollout = Rollout()
