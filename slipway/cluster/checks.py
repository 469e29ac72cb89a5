"""A service's checks: asked through the API server's service proxy, retried until they are met, told when they fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter, ValidationError

from services.spec import Check
from slipway.masking import masked_text, without_control

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

# Imports of the client wait until they are needed: a fifth of a second that most previews can do without.
# ruff: noqa: PLC0415

CHECKS_ANNOTATION = "slipway.dev/checks"
PORT_NAME = "http"
PAUSE_SECONDS = 0.5
REQUEST_TIMEOUT_SECONDS = 5.0
PARALLEL_CHECKS = 32
BODY_SHOWN = 300


@dataclass(frozen=True)
class Answer:
    """What a request got: an HTTP status and the body, or no status and the reason."""

    status: int | None
    body: str

    def __str__(self) -> str:
        # Masked whole: a secret that is cut in two would be no longer known for one.
        shown = " ".join(masked_text(without_control(self.body)).split())[:BODY_SHOWN]
        return f"answered {self.status}: {shown}" if self.status else f"did not answer: {shown}"


class Ask(Protocol):
    """GET a path of a service, given its name; never raises for an answer that is merely bad."""

    def __call__(self, service: str, path: str) -> Answer: ...


def recorded_checks(annotation: str) -> list[Check]:
    """The checks in the annotation CHECKS_ANNOTATION of a Deployment; ValueError where it holds something else."""
    try:
        return TypeAdapter(list[Check]).validate_python(json.loads(annotation))
    except ValidationError as error:
        raise ValueError(str(error)) from error


def unmet(check: Check, answer: Answer) -> str:
    """Why the answer does not meet the check; empty when it does."""
    if answer.status != check.status:
        return f"{answer}; wanted status {check.status}"
    if check.has is not None and check.has not in answer.body:
        return f"{answer}; wanted a body that has {check.has!r}"
    return ""


def failing(
    checks: Mapping[str, Sequence[Check]],
    ask: Ask,
    timeout_seconds: float,
    *,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], None] = sleep,
) -> list[str]:
    """Ask all checks at once, each until it is met or the time is over; a line for each that was never met."""
    deadline = clock() + timeout_seconds

    def until_met(service: str, check: Check) -> str:
        tries = 1
        while reason := unmet(check, ask(service, check.get)):
            if clock() + PAUSE_SECONDS >= deadline:
                return f"{service}: GET {check.get} {reason} (asked {tries} times in {timeout_seconds:g} s)"
            tries += 1
            sleep(PAUSE_SECONDS)
        return ""

    questions = [(service, check) for service, wanted in checks.items() for check in wanted]
    with ThreadPoolExecutor(PARALLEL_CHECKS) as pool:
        return [line for line in pool.map(lambda question: until_met(*question), questions) if line]


def service_proxy(context: str | None, namespace: str, port_name: str) -> Callable[[], Ask]:
    """A function that connects and returns an `Ask`; nothing is read or imported before it is called."""

    def connect() -> Ask:
        from kubernetes import config

        client = config.new_client_from_config(context=context)  # type: ignore[no-untyped-call]
        return asked_through(client, namespace, port_name)

    return connect


def asked_through(client: ApiClient, namespace: str, port_name: str = PORT_NAME) -> Ask:
    """Asks the services of `namespace` through the API server that `client` is connected to.

    https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
    """
    return lambda service, path: _get(client, f"/api/v1/namespaces/{namespace}/services/{service}:{port_name}", path)


def _get(client: ApiClient, service_url: str, path: str) -> Answer:
    from urllib3.exceptions import HTTPError

    asked = urlsplit(path)
    request = client.param_serialize(
        method="GET",
        resource_path=f"{service_url}/proxy{asked.path}",
        query_params=parse_qsl(asked.query, keep_blank_values=True),
        header_params={"Accept": "*/*"},
        auth_settings=["BearerToken"],
    )
    try:
        response = client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_SECONDS)
        body: bytes = response.read()  # type: ignore[no-untyped-call]
        return Answer(response.status, body.decode(errors="replace"))
    except (HTTPError, OSError) as error:
        return Answer(None, str(error))
