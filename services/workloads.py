"""The parts of service.yaml for a whole workload: its kind, probes, schedule and migration, and where its pods run."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic.config import JsonDict

from services.fields import (
    AbsolutePath,
    LabelName,
    Labels,
    LabelValue,
    Model,
    Port,
    QualifiedName,
    Seconds,
    SubdomainName,
    absolute_path,
)

Kind = Literal["Service", "Worker", "CronJob"]
HANDLERS = ("httpGet", "grpc", "tcpSocket", "tcp", "exec")
# After the name of a service: the label `app.kubernetes.io/name` of its migration's pods, which no Service selects.
MIGRATION_SUFFIX = "-migration"
LONGEST_SECONDS = 7 * 24 * 3600
# Accepted by the CronJob controller's parser: https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format
_MACROS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_EVERY = re.compile(r"@every \d+(\.\d+)?(h|m|s)(\d+(\.\d+)?(m|s))*")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)


def _time_zone(text: str) -> str:
    known = available_timezones()
    if known and text not in known:  # a machine without the database knows none
        raise ValueError(f"{text!r} is not a time zone of the IANA database, such as Etc/UTC or Europe/Berlin")
    return text


def _schedule(text: str) -> str:
    if text in _MACROS or _EVERY.fullmatch(text):
        return text
    if text.startswith(("TZ=", "CRON_TZ=")):
        raise ValueError(f"{text!r} names a time zone, which Kubernetes refuses in a schedule; put it in `timeZone`")
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(fields)} fields; allowed are five (minute, hour, day of month, month, day of week), as "
            f"in '30 2 * * *', or {', '.join(sorted(_MACROS))}"
        )
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if problem := _field_problem(part, least, most, names):
                raise ValueError(f"{text!r} has {part!r} as {name}, {problem}")
    return text


def _field_problem(part: str, least: int, most: int, names: list[str]) -> str:
    """Why `part` is no value, range or step of a field; empty if it is one."""
    values, slash, step = part.partition("/")
    allowed = f"allowed are {least} to {most}{', ' + ' '.join(names) if names else ''}, `*`, ranges (1-5), steps (*/10)"
    if slash and not (step.isdecimal() and int(step) > 0):
        return f"whose step is not a number above 0; {allowed}"
    if values in ("*", "?"):
        return ""
    first, dash, last = values.partition("-")
    numbers = []
    for each in (first, last) if dash else (first,):
        if each.lower() in names:
            numbers.append(names.index(each.lower()) + least)
        elif each.isascii() and each.isdecimal() and least <= int(each) <= most:
            numbers.append(int(each))
        else:
            return f"which is invalid; {allowed}"
    return f"a range that ends before it begins; {allowed}" if numbers != sorted(numbers) else ""


class HttpGet(Model):
    """A request that must be answered with a status below 400, like Kubernetes' `httpGet` probe."""

    path: AbsolutePath = "/"
    port: Port | None = None


class Grpc(Model):
    """A call of `grpc.health.v1.Health/Check` that must be answered SERVING, like Kubernetes' `grpc` probe."""

    service: StrictStr | None = None
    port: Port | None = None


class TcpSocket(Model):
    """A connection that must be accepted, like Kubernetes' `tcpSocket` probe."""

    port: Port | None = None


def _command(value: object) -> object:
    """`[cat, /tmp/ready]`, or `{command: [cat, /tmp/ready]}` as in Kubernetes."""
    return value["command"] if isinstance(value, dict) and set(value) == {"command"} else value


Command = Annotated[list[StrictStr], BeforeValidator(_command), Field(min_length=1)]


class Handlers(Model):
    """How the kubelet probes: one of these. `tcp` is short for `tcpSocket`."""

    http_get: HttpGet | None = None
    grpc: Grpc | None = None
    tcp_socket: TcpSocket | None = None
    tcp: TcpSocket | None = None
    exec: Command | None = None

    @property
    def given(self) -> list[str]:
        """The handlers that are given, as service.yaml writes them."""
        fields = Handlers.model_fields.items()
        return [field.alias or name for name, field in fields if getattr(self, name) is not None]


class Probe(Handlers):
    """One probe of the kubelet; a text is the path of an HTTP request.

    Without a port it uses the service's own.
    """

    @model_validator(mode="before")
    @classmethod
    def _http_path(cls, value: object) -> object:
        return {"httpGet": {"path": absolute_path(value)}} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_question(self) -> Probe:
        if len(self.given) != 1:
            met = f"{' and '.join(self.given)} are given" if self.given else "none is given"
            raise ValueError(f"{met}; give one of {', '.join(HANDLERS)}, or an HTTP path as text")
        return self

    @property
    def port(self) -> int | None:
        """The probe's port; `None` if it is the service's own, or for `exec`."""
        handler = self.http_get or self.grpc or self.tcp_socket or self.tcp
        return handler.port if handler else None

    @property
    def needs_port(self) -> bool:
        """Whether it uses the service's own port."""
        return self.exec is None and self.port is None


def _with_texts(schema: JsonDict) -> None:
    """For editors: each of the three may be a text."""
    properties = schema["properties"]
    for name in ("startup", "live", "ready"):
        field = properties[name] if isinstance(properties, dict) else None
        if isinstance(field, dict) and isinstance(options := field["anyOf"], list):
            field["anyOf"] = [{"type": "string", "pattern": r"^/\S*$"}, *options]


class Health(Handlers):
    """The startup, liveness and readiness probes.

    Each is an HTTP path as text or one of the handlers; a handler in their place is used for those that are not given.
    """

    model_config = ConfigDict(json_schema_extra=_with_texts)

    startup: Probe | None = None
    live: Probe | None = None
    ready: Probe | None = None
    startup_timeout_seconds: Seconds = 60

    @model_validator(mode="after")
    def _is_one_for_all(self) -> Health:
        if len(self.given) > 1:
            raise ValueError(
                f"{' and '.join(self.given)} are given; give one for all three, or each of `startup`, `live`, `ready`"
            )
        return self

    def probes(self, kind: Kind) -> dict[str, Probe]:
        """The probes by name, `startup`, `live` and `ready`: those given, else those of an HTTP service.

        A worker has only those given, a cron job none.
        """
        if kind == "CronJob":
            return {}
        usual: dict[str, Any] = (
            {"startup": "/healthz", "live": "/healthz", "ready": "/readyz"} if kind == "Service" else {}
        )
        if self.given:
            handlers = self.model_dump(by_alias=True, exclude_none=True, include=set(Handlers.model_fields))
            usual = dict.fromkeys(("startup", "live", "ready"), handlers)
        given = {"startup": self.startup, "live": self.live, "ready": self.ready}
        found = {name: Probe.model_validate(asked) for name, asked in usual.items()}
        return found | {name: probe for name, probe in given.items() if probe is not None}


class CronJobSpec(Model):
    """When the cron job runs, and the settings of its Jobs, under Kubernetes' own names.

    https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
    """

    schedule: Annotated[StrictStr, AfterValidator(_schedule)]
    time_zone: Annotated[StrictStr, AfterValidator(_time_zone)] = "Etc/UTC"
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Forbid"
    starting_deadline_seconds: Annotated[StrictInt, Field(ge=10, le=LONGEST_SECONDS)] | None = None
    successful_jobs_history_limit: Annotated[StrictInt, Field(ge=0, le=100)] = 3
    failed_jobs_history_limit: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    active_deadline_seconds: Annotated[StrictInt, Field(ge=1, le=LONGEST_SECONDS)] = 3600
    backoff_limit: Annotated[StrictInt, Field(ge=0, le=100)] = 0
    suspend: StrictBool = False


class Migration(Model):
    """A command in the service's image that runs as a Job before its rollout, once per image and environment.

    `destructive` says that the previous release cannot work with the result.
    """

    command: Command
    args: list[StrictStr] = []
    active_deadline_seconds: Annotated[StrictInt, Field(ge=1, le=LONGEST_SECONDS)] = 300
    destructive: StrictBool = False


MANY_WITHOUT_VALUES = ("Exists", "DoesNotExist")
NUMERIC = ("Gt", "Lt")


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IP address; allowed are forms like 10.0.0.7 or 2001:db8::7") from error


Address = Annotated[StrictStr, AfterValidator(_address)]
Weight = Annotated[StrictInt, Field(ge=1, le=100)]
DnsPolicy = Literal["ClusterFirst", "Default", "None"]


class KubernetesShape(Model):
    """A part of a pod's spec that is passed to Kubernetes as it is written.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec
    """


class Toleration(KubernetesShape):
    """Lets pods onto nodes with a taint. An empty `key` with `Exists` tolerates every taint."""

    key: QualifiedName | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[StrictInt, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _can_match(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError(f"`value` is {self.value!r}, and `operator: Exists` takes none; remove it")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("`key` is missing; only `operator: Exists` may omit it, and then tolerates every taint")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("`tolerationSeconds` needs `effect: NoExecute`")
        return self


class LabelRequirement(KubernetesShape):
    """A requirement on a label of a pod or namespace."""

    key: QualifiedName
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] = []

    @model_validator(mode="after")
    def _has_values(self) -> LabelRequirement:
        _require_values(self.operator, self.values)
        return self


class NodeRequirement(KubernetesShape):
    """A requirement on a node's label, or in `matchFields` on its name."""

    key: QualifiedName
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[LabelValue] = []

    @model_validator(mode="after")
    def _has_values(self) -> NodeRequirement:
        _require_values(self.operator, self.values)
        return self


def _require_values(operator: str, values: list[str]) -> None:
    if operator in MANY_WITHOUT_VALUES and values:
        raise ValueError(f"`values` has {len(values)}, and `operator: {operator}` takes none; remove it")
    if operator in NUMERIC and (len(values) != 1 or not values[0].isdecimal()):
        raise ValueError(f"`operator: {operator}` takes one whole number in `values`, in quotes")
    if operator in ("In", "NotIn") and not values:
        raise ValueError(f"`operator: {operator}` needs at least one of `values`")


class LabelSelector(KubernetesShape):
    """Selects pods or namespaces; all requirements must hold."""

    match_labels: Labels = {}
    match_expressions: list[LabelRequirement] = []


class NodeSelectorTerm(KubernetesShape):
    """Selects nodes; all requirements must hold."""

    match_expressions: list[NodeRequirement] = []
    match_fields: list[NodeRequirement] = []


class NodeSelector(KubernetesShape):
    """Nodes that match one of the terms."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(min_length=1)]


class PreferredSchedulingTerm(KubernetesShape):
    """Nodes that are preferred, by weight."""

    weight: Weight
    preference: NodeSelectorTerm


class NodeAffinity(KubernetesShape):
    """Which nodes pods must or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredSchedulingTerm] = []


class PodAffinityTerm(KubernetesShape):
    """Other pods, and the node label that defines what is near them."""

    topology_key: QualifiedName
    label_selector: LabelSelector | None = None
    namespaces: list[LabelName] = []
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[QualifiedName] = []
    mismatch_label_keys: list[QualifiedName] = []


class WeightedPodAffinityTerm(KubernetesShape):
    """The same, preferred by weight."""

    weight: Weight
    pod_affinity_term: PodAffinityTerm


class PodAffinity(KubernetesShape):
    """The other pods that pods must or should run near, or in `podAntiAffinity` away from."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = []
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = []


class Affinity(KubernetesShape):
    """https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity"""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(KubernetesShape):
    """https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/

    Without a `labelSelector` it selects the service's own pods.
    """

    max_skew: Annotated[StrictInt, Field(ge=1)]
    topology_key: QualifiedName
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: LabelSelector | None = None
    min_domains: Annotated[StrictInt, Field(ge=1)] | None = None
    match_label_keys: list[QualifiedName] = []
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None

    @model_validator(mode="after")
    def _can_be_met(self) -> TopologySpreadConstraint:
        if self.min_domains is not None and self.when_unsatisfiable != "DoNotSchedule":
            raise ValueError("`minDomains` needs `whenUnsatisfiable: DoNotSchedule`")
        return self


class HostAlias(KubernetesShape):
    """A line of the pods' /etc/hosts."""

    ip: Address
    hostnames: Annotated[list[SubdomainName], Field(min_length=1)]


class DnsOption(KubernetesShape):
    """An option of the pods' /etc/resolv.conf, such as `{name: ndots, value: "2"}`."""

    name: StrictStr
    value: StrictStr | None = None


class DnsConfig(KubernetesShape):
    """https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-dns-config"""

    nameservers: Annotated[list[Address], Field(max_length=3)] = []
    searches: Annotated[list[StrictStr], Field(max_length=32)] = []
    options: list[DnsOption] = []
