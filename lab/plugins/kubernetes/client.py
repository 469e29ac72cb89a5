"""HTTP to one Kubernetes API server: pooled connections, rate limit, retries, errors as the server tells them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3 import HTTPHeaderDict

from lab.plugins.kubernetes import VERSION
from lab.plugins.kubernetes.connections import Pools
from lab.plugins.kubernetes.credentials import Credentials
from lab.plugins.kubernetes.kubeconfig import Connection, KubeconfigError
from lab.plugins.kubernetes.throttle import Throttle
from lab.plugins.kubernetes.values import Object, list_at, text_at
from lab.plugins.serving import PluginError

JSON: Final = "application/json"
APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML
JSON_PATCH: Final = "application/json-patch+json"

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
# A watch that says nothing for so long, not even a bookmark, may have lost its connection unnoticed.
_QUIET_SECONDS = 150.0
# A server that restarts, or sheds load, is asked again after these pauses (seconds).
_PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0)
_CONNECTION_NAME = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")


class UnreachableError(PluginError):
    """No answer could be had from the API server."""


class CancelledError(PluginError):
    """The user interrupted the update."""

    def __init__(self) -> None:
        super().__init__("the operation was cancelled")


class ApiError(PluginError):
    """An answer of the API server that is no success; `body` is its Status object."""

    def __init__(self, status: int, body: Object) -> None:
        super().__init__(text_at(body, "message") or f"the API server answered with HTTP status {status}")
        self.status = status
        self.body = body

    @property
    def reason(self) -> str:
        return text_at(self.body, "reason")

    @property
    def causes(self) -> list[Object]:
        return list_at(self.body, "details", "causes")

    @property
    def is_not_found(self) -> bool:
        return self.status == 404

    @property
    def names_missing_namespace(self) -> bool:
        return self.status == 404 and text_at(self.body, "details", "kind") == "namespaces"


@dataclass(frozen=True)
class Answer:
    """A successful answer; `warnings` are the texts of its Warning headers."""

    status: int
    body: Object
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClientSettings:
    """`kubeClientSettings` of the provider, with the official plugin's defaults."""

    qps: float = 50.0
    burst: int = 120
    timeout_seconds: float = 0.0


class Client:
    """Requests to the API server of one connection, from any number of threads."""

    def __init__(self, connection: Connection, settings: ClientSettings, cancelled: threading.Event) -> None:
        self.connection = connection
        self.cancelled = cancelled
        self._credentials = Credentials(connection)
        self._throttle = Throttle(settings.qps, settings.burst)
        self._read_seconds = settings.timeout_seconds or _READ_SECONDS
        self._prefix = urlsplit(connection.cluster.server).path.rstrip("/")
        self._lock = threading.Lock()
        self._pools: Pools | None = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        return self.send("GET", path, query=query).body

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        pauses: Sequence[float] = _PAUSES,
    ) -> Answer:
        """One request, asked again where that is safe; raises `ApiError`, `UnreachableError` or `CancelledError`."""
        data = None if body is None else json.dumps(body).encode()
        url = self._url(path, query)
        for pause in (*pauses, None):
            self._throttle.wait(self.cancelled)
            try:
                response = self._send_once(method, url, data, content_type)
            except urllib3.exceptions.NewConnectionError as error:
                self._pause_or_raise(pause, error)  # nothing was sent, so even a POST may go again
                continue
            except urllib3.exceptions.HTTPError as error:
                self._pause_or_raise(None if method == "POST" else pause, error)
                continue
            if pause is not None and self._should_retry(response, method):
                self._sleep(_retry_after_seconds(response) or pause)
                continue
            return _answer(response)
        raise AssertionError("the last round returns or raises")

    def lines(self, path: str, query: Mapping[str, str], opened: threading.Event | None = None) -> Iterator[bytes]:
        """The lines of an answer that goes on for as long as the server likes: a watch."""
        self._throttle.wait(self.cancelled)
        pool = self._ready_pools().watches
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_QUIET_SECONDS)
        try:
            response = pool.urlopen(
                "GET",
                self._url(path, query),
                headers=self._headers(None),
                retries=False,
                timeout=timeout,
                preload_content=False,
            )
            if response.status >= 400:
                raise _error(response)
            if opened is not None:
                opened.set()
            yield from _lines(response)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(str(error)) from error

    def _send_once(self, method: str, url: str, data: bytes | None, content_type: str) -> urllib3.BaseHTTPResponse:
        if self.cancelled.is_set():
            raise CancelledError
        return self._ready_pools().requests.urlopen(
            method,
            url,
            body=data,
            headers=self._headers(content_type if data else None),
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=self._read_seconds),
        )

    def _should_retry(self, response: urllib3.BaseHTTPResponse, method: str) -> bool:
        if response.status == 401:
            return self._credentials.forget()
        return response.status == 429 or (response.status in (502, 503, 504) and method != "POST")

    def _pause_or_raise(self, pause: float | None, error: Exception) -> None:
        if self.cancelled.is_set():
            raise CancelledError from error
        if pause is None:
            raise UnreachableError(f"{self.connection.cluster.server}: {_root_cause(error)}") from error
        self._sleep(pause)

    def _sleep(self, seconds: float) -> None:
        if self.cancelled.wait(min(seconds, 30.0)):
            raise CancelledError

    def _headers(self, content_type: str | None) -> HTTPHeaderDict:
        with self._telling():
            who = self._credentials.headers()
        headers = HTTPHeaderDict({"Accept": JSON, "User-Agent": f"slipway-pulumi-kubernetes/{VERSION}"})
        headers.extend(who)
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._prefix}{path}?{urlencode(query)}" if query else self._prefix + path

    def _ready_pools(self) -> Pools:
        """The connections, made anew when a credential plugin hands out another client certificate."""
        with self._telling():
            credential = self._credentials.current()
            with self._lock:
                if self._pools is None or self._pools.client_certificate != credential.client_certificate:
                    self._pools = Pools.open(self.connection, credential)
                return self._pools

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Credentials that cannot be had, any more or at all, mean that the server cannot be reached."""
        try:
            yield
        except KubeconfigError as error:
            raise UnreachableError(f"{self.connection.cluster.server}: {error}") from error


def _answer(response: urllib3.BaseHTTPResponse) -> Answer:
    if response.status >= 400:
        raise _error(response)
    return Answer(response.status, _body(response), tuple(_warnings(response)))


def _error(response: urllib3.BaseHTTPResponse) -> ApiError:
    return ApiError(response.status, _body(response))


def _body(response: urllib3.BaseHTTPResponse) -> Object:
    """The JSON object of an answer; anything else (a proxy's page) becomes a Status with its first line."""
    data = response.data
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    text = data.decode(errors="replace").strip().splitlines()
    return {"kind": "Status", "message": text[0][:200] if text else "", "code": response.status}


def _warnings(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """The texts of `299 - "text"` headers (RFC 7234)."""
    for header in response.headers.getlist("Warning"):
        _, _, text = header.partition('"')
        yield text.removesuffix('"').replace('\\"', '"').replace("\\\\", "\\")


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Each line as soon as it has come."""
    rest = b""
    for chunk in response.stream(65536, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _retry_after_seconds(response: urllib3.BaseHTTPResponse) -> float:
    told = response.headers.get("Retry-After", "")
    return float(told) if told.isdigit() else 0.0


def _root_cause(error: BaseException) -> str:
    """The reason without urllib3's name of the connection object in front."""
    return _CONNECTION_NAME.sub("", str(error))
