"""The parts of `service.yaml` for the kind of a workload: health, schedule, and the migration before its rollout."""

from __future__ import annotations

import re
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

from services.fields import AbsolutePath, Model, Port, Seconds, absolute_path

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
