"""A service's checks: sent to every ready pod behind its Service, retried until they are met, reported if they fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock, Semaphore
from time import monotonic, sleep
from typing import Any, Protocol
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from services.spec import PORT_NAME, Check, json_path_keys
from slipway.cluster.client import Cluster, ClusterError, ForbiddenError
from slipway.cluster.diagnosis.model import Object, object_at, objects_at, text_at
from slipway.cluster.port_forward import PortForwards
from slipway.masking import masked_text, without_control
from slipway.values import same

CHECKS_ANNOTATION = "slipway.dev/checks"
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetesioservice-name
SERVICE_LABEL = "kubernetes.io/service-name"
PAUSE_SECONDS = 0.5
REQUEST_TIMEOUT_SECONDS = 5.0
PARALLEL_CHECKS = 32
BODY_SHOWN = 300
# A websocket is opened by GET, which needs `get`; from 1.35 on, API servers require `create` as well.
# https://github.com/kubernetes/kubernetes/pull/134577
RIGHTS = (
    ("list", "endpointslices", "discovery.k8s.io"),
    ("get", "pods/portforward", ""),
    ("create", "pods/portforward", ""),
)
RIGHTS_NEEDED = (
    "checks reach the pods behind a Service through the kubelet's port-forward, which needs `list` on "
    "endpointslices.discovery.k8s.io, and `get` and `create` on pods/portforward; docs/cluster.md has a Role with them"
)


@dataclass(frozen=True)
class Answer:
    """A pod's answer: an HTTP status and the body, or no status and the reason. `pod` is its name."""

    status: int | None
    body: str
    pod: str = ""

    def __str__(self) -> str:
        # Masked before it is cut: half a secret would not be recognized.
        shown = " ".join(masked_text(without_control(self.body)).split())[:BODY_SHOWN]
        return f"answered {self.status}: {shown}" if self.status else f"did not answer: {shown}"


class Ask(Protocol):
    """Send a check to every ready pod of a service, given its name; returns at least one answer, even a bad one.

    An answer may take `timeout_seconds`. Raises ClusterError if the cluster does not allow it.
    """

    def __call__(self, service: str, check: Check, timeout_seconds: float, /) -> Sequence[Answer]: ...


def recorded_checks(annotation: str) -> list[Check]:
    """The checks in the annotation CHECKS_ANNOTATION of a Deployment; ValueError if it contains anything else."""
    try:
        return TypeAdapter(list[Check]).validate_python(json.loads(annotation))
    except ValidationError as error:
        raise ValueError(str(error)) from error


def unmet(check: Check, answer: Answer) -> str:
    """Why the answer does not meet the check; empty if it does."""
    if answer.status != check.status:
        return f"{answer}; expected status {check.status}"
    if check.has is not None and check.has not in answer.body:
        return f"{answer}; expected a body that has {check.has!r}"
    if check.json_values:
        try:
            body = json.loads(answer.body)
        except ValueError:
            return f"{answer}; expected a body that is JSON"
        for path, expected in check.json_values.items():
            try:
                met: Any = body
                for key in json_path_keys(path):
                    kind: type[Any] = list if isinstance(key, int) else dict
                    if not isinstance(met, kind):
                        raise LookupError(key)
                    met = met[key]
            except LookupError:
                return f"{answer}; expected {json.dumps(expected)} at {path}, which does not exist"
            if not same(met, expected):
                return f"{answer}; expected {json.dumps(expected)} at {path}, which is {json.dumps(met)[:BODY_SHOWN]}"
    return ""


def failing(
    checks: Mapping[str, Sequence[Check]],
    ask: Ask,
    timeout_seconds: float,
    *,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], None] = sleep,
) -> list[str]:
    """Run all checks in parallel, each until every pod meets it or its time is over; returns a line for each unmet one.

    A check's own `timeoutSeconds` overrides `timeout_seconds`. An answer may take half of it, at least 5 seconds, so
    that a lost request is sent again.
    """

    def until_met(service: str, check: Check) -> str:
        limit = check.timeout_seconds or timeout_seconds
        deadline, longest = clock() + limit, max(REQUEST_TIMEOUT_SECONDS, limit / 2)
        tries = 1
        bad: list[tuple[Answer, str]] = []
        while True:
            patience = max(min(longest, deadline - clock()), PAUSE_SECONDS)
            latest = ask(service, check, patience)
            unmet_by = [(answer, reason) for answer in latest if (reason := unmet(check, answer))]
            if not unmet_by:
                return ""
            # Where the deadline leaves less time than an answer may take, silence says less than the answer before.
            if not bad or patience == longest or all(answer.status for answer, _ in unmet_by):
                answers, bad = latest, unmet_by
            if clock() + PAUSE_SECONDS >= deadline:
                break
            tries += 1
            sleep(PAUSE_SECONDS)
        answer, reason = bad[0]
        pod = f"of pod {answer.pod} " if answer.pod else ""
        pods = f"{len(bad)} of {len(answers)} pods, " if len(answers) > 1 else ""
        attempts = f"({pods}asked {tries} time{'' if tries == 1 else 's'} in {limit:g} s)"
        return f"{service}: {check.method} {check.path} {pod}{reason} {attempts}"

    questions = [(service, check) for service, expected in checks.items() for check in expected]
    with ThreadPoolExecutor(PARALLEL_CHECKS) as pool:
        return [line for line in pool.map(lambda question: until_met(*question), questions) if line]


def missing_rights(cluster: Cluster, namespace: str) -> str:
    """The missing rights for checks in the namespace, as a sentence; empty if none is missing.

    Raises ClusterError if the cluster does not answer.
    """
    with ThreadPoolExecutor(len(RIGHTS)) as pool:
        allowed = list(pool.map(lambda right: cluster.is_allowed(namespace, *right), RIGHTS))
    missing = [f"`{verb}` {resource}" for (verb, resource, _), given in zip(RIGHTS, allowed, strict=True) if not given]
    if not missing:
        return ""
    return f"in namespace {namespace} this kubeconfig may not {', nor '.join(missing)}: {RIGHTS_NEEDED}"


def ready_pods(context: str | None, namespace: str) -> Callable[[], Ask]:
    """A function that connects and returns an `Ask`; nothing is read or imported before it is called."""
    return lambda: ReadyPods(Cluster.connect(context), namespace)


@dataclass(frozen=True)
class Endpoint:
    """A ready pod behind a Service, and its port that the Service leads to."""

    pod: str
    port: int


def endpoints(slices: Iterable[Object], service: str, port_name: str = PORT_NAME) -> list[Endpoint]:
    """The ready pods that a Service's port of this name leads to, by its EndpointSlices.

    A pod with two addresses is in two slices. https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
    """
    found: dict[Endpoint, None] = {}
    for each in slices:
        if object_at(each, "metadata", "labels").get(SERVICE_LABEL) != service:
            continue
        numbers = [port["port"] for port in objects_at(each, "ports") if port.get("name") == port_name]
        for endpoint in objects_at(each, "endpoints"):
            target = object_at(endpoint, "targetRef")
            # Missing means ready: https://kubernetes.io/docs/reference/kubernetes-api/discovery/endpoint-slice-v1/
            if target.get("kind") == "Pod" and object_at(endpoint, "conditions").get("ready") is not False:
                found |= {Endpoint(text_at(target, "name"), int(number)): None for number in numbers if number}
    return list(found)


@dataclass
class ReadyPods:
    """Sends checks to the pods of one namespace; all checks share one list of EndpointSlices at a time."""

    cluster: Cluster
    namespace: str
    _slices: Sequence[Object] = ()
    _listed_seconds: float = float("-inf")
    _listing: Lock = field(default_factory=Lock)
    _requests: Semaphore = field(default_factory=lambda: Semaphore(PARALLEL_CHECKS))

    @cached_property
    def _pods(self) -> PortForwards:
        return PortForwards(self.cluster.client)

    def __call__(self, service: str, check: Check, timeout_seconds: float) -> Sequence[Answer]:
        try:
            port_name = check.port or PORT_NAME
            with self._listing:
                # No older than the pause between two tries, so that each try sees the present pods.
                if monotonic() - self._listed_seconds >= PAUSE_SECONDS:
                    self._slices = self.cluster.endpoint_slices(self.namespace)
                    self._listed_seconds = monotonic()
                slices = self._slices
            found = endpoints(slices, service, port_name)
            if not found:
                return [Answer(None, f"no ready pod with a port {port_name!r} is behind Service {service}")]
            if len(found) == 1:
                return [self._answer(found[0], service, check, timeout_seconds)]
            with ThreadPoolExecutor(min(len(found), PARALLEL_CHECKS)) as pool:
                return list(pool.map(lambda each: self._answer(each, service, check, timeout_seconds), found))
        except ForbiddenError as error:
            raise ForbiddenError(f"{error}; {RIGHTS_NEEDED}") from error
        except ClusterError as error:
            return [Answer(None, str(error))]

    def _answer(self, endpoint: Endpoint, service: str, check: Check, timeout_seconds: float) -> Answer:
        body, headers = check.body, {"Host": service, "Accept": "*/*", "User-Agent": "slipway"}
        if body is not None and not isinstance(body, str):
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        given = {name.lower() for name in check.headers}
        with self._requests:
            try:
                status, answered = self._pods.request(
                    self.namespace,
                    endpoint.pod,
                    endpoint.port,
                    method=check.method,
                    path=quote(check.path, safe="/?#[]@!$&'()*+,;=:%~"),
                    headers={name: value for name, value in headers.items() if name.lower() not in given}
                    | check.headers,
                    body=None if body is None else body.encode(),
                    timeout_seconds=timeout_seconds,
                )
            except ForbiddenError:
                raise
            except TimeoutError:
                return Answer(None, f"nothing in {timeout_seconds:g} s on its port {endpoint.port}", endpoint.pod)
            except (ClusterError, OSError) as error:
                refused = "connection refused" in str(error).lower()
                reason = f"nothing listens on its port {endpoint.port}" if refused else str(error)
                return Answer(None, reason, endpoint.pod)
        return Answer(status, answered.decode(errors="replace"), endpoint.pod)
