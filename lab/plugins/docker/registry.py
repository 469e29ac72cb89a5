"""Asks a registry for the digest of an image, over the distribution protocol.

https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import cache
from threading import Lock

import httpx

from lab.plugins.docker.provider import ImageName, Login, RegistryAccess
from lab.plugins.serving import PluginError
from slipway.tls import shared

_one_at_a_time = Lock()  # else all first questions would read the authorities at once
TIMEOUT = httpx.Timeout(10.0, connect=5.0)
MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


def digest_of(name: str, image: ImageName, access: RegistryAccess, *, verify_tls: bool) -> str:
    """The digest of the manifest that `image` names, as the registry stores it.

    Raises:
        PluginError: it cannot be read; the message says whether the registry, the login or the image is at fault.
    """
    loopback = _is_loopback(image.registry)
    # Like Docker: plain HTTP on loopback, elsewhere only if declared.
    schemes = ["https", "http"] if loopback else ["https"]
    if access.plain_http:
        schemes = ["http"]
    with _one_at_a_time:
        context = tls_context(verify=verify_tls)
    # A proxy of the environment cannot reach this machine's own loopback.
    with httpx.Client(verify=context, timeout=TIMEOUT, trust_env=not loopback, follow_redirects=True) as client:
        for scheme in schemes:
            try:
                return _Question(client, f"{scheme}://{image.registry}", image, access).digest()
            except httpx.TransportError as error:
                if scheme == schemes[-1] or not _speaks_no_tls(error):
                    raise _unreachable(name, f"{scheme}://{image.registry}", error) from error
            except _RefusedError as error:
                raise PluginError(f"cannot read the image {name}: {error}") from error
    raise AssertionError("there is a scheme to try")


class _RefusedError(Exception):
    """The registry answered, but not with an image; the message is the rest of the user's sentence."""


class _Question:
    """A query for one image at one registry; logs in if the registry asks for it."""

    def __init__(self, client: httpx.Client, server: str, image: ImageName, access: RegistryAccess) -> None:
        self._client = client
        self._server = server
        self._image = image
        self._login = access.login
        self._problem = f" (no login: {access.problem})" if access.problem else ""
        self._headers = {"Accept": MANIFEST_TYPES}

    def digest(self) -> str:
        response = self._ask("HEAD")
        if response.status_code == 401:
            self._headers["Authorization"] = self._authorization(response)
            response = self._ask("HEAD")
        self._require_image(response)
        if found := response.headers.get("Docker-Content-Digest"):
            return str(found)
        response = self._ask("GET")
        self._require_image(response)
        return response.headers.get("Docker-Content-Digest") or f"sha256:{hashlib.sha256(response.content).hexdigest()}"

    def _ask(self, method: str) -> httpx.Response:
        path = f"/v2/{self._image.repository}/manifests/{self._image.reference}"
        return self._client.request(method, self._server + path, headers=self._headers)

    def _require_image(self, response: httpx.Response) -> None:
        where = f"{self._image.repository}:{self._image.reference}".replace(":sha256:", "@sha256:")
        match response.status_code:
            case 200:
                return
            case 404:
                raise _RefusedError(f"{self._server} does not have {where}; check the name, or build and push it first")
            case 401 | 403:
                raise _RefusedError(f"{self._server} refuses {where} ({response.status_code}) {self._as_whom()}")
            case 429:
                raise _RefusedError(f"{self._server} limits the rate of requests (429); log in to it, or wait")
            case status:
                raise _RefusedError(f"{self._server} answered {status} {response.reason_phrase}; see its log")

    def _as_whom(self) -> str:
        if self._login is None:
            return (
                f"without a login{self._problem}; use `docker login` or set docker:registryAuth, "
                "and check the name: registries hide which images do not exist"
            )
        return f"for the user {self._login.username}; check the password and the user's rights"

    def _authorization(self, response: httpx.Response) -> str:
        """Answer the registry's challenge, with a token if it takes one."""
        challenges = {}
        for header in response.headers.get_list("WWW-Authenticate"):  # one scheme in each, with its parameters
            scheme, _, parameters = header.partition(" ")
            pairs = [pair for pair in urllib.request.parse_http_list(parameters) if "=" in pair]
            challenges[scheme.lower()] = urllib.request.parse_keqv_list(pairs)
        if "bearer" in challenges:
            return f"Bearer {self._token(challenges['bearer'])}"
        if "basic" in challenges and self._login is not None:
            return _basic(self._login)
        raise _RefusedError(f"{self._server} refuses {self._image.repository} (401) {self._as_whom()}")

    def _token(self, challenge: dict[str, str]) -> str:
        realm = challenge.get("realm", "")
        safe = ("https://", "http://") if self._server.startswith("http://") else ("https://",)
        if not realm.startswith(safe):
            raise _RefusedError(f"{self._server} wants the login sent to {realm!r}, which would expose it")
        parameters = {
            "service": challenge.get("service", ""),
            "scope": challenge.get("scope") or f"repository:{self._image.repository}:pull",
        }
        headers = {"Authorization": _basic(self._login)} if self._login else {}
        response = self._client.get(realm, params=parameters, headers=headers)
        if response.status_code != 200:
            raise _RefusedError(
                f"{realm}, the token service of {self._server}, answered {response.status_code} {self._as_whom()}"
            )
        try:
            answer = response.json()
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            raise _RefusedError(f"{realm} answered without a token") from error


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def _is_loopback(registry: str) -> bool:
    host = urllib.parse.urlsplit(f"//{registry}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@cache  # reading the authorities takes longer than asking a registry
def tls_context(*, verify: bool) -> ssl.SSLContext:
    """Trust the system's authorities, including `SSL_CERT_FILE` and `SSL_CERT_DIR`, like plugins written in Go."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return shared(context)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _speaks_no_tls(error: httpx.TransportError) -> bool:
    """Whether the other side answered a TLS handshake with something else; a bad certificate is still TLS."""
    problems = [cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)]
    return bool(problems) and not any(isinstance(cause, ssl.SSLCertVerificationError) for cause in problems)


def _unreachable(name: str, server: str, error: httpx.TransportError) -> PluginError:
    certificate = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        reason = f"its certificate is not trusted: {certificate.verify_message}"
        advice = "add its CA to the system's, name a bundle in SSL_CERT_FILE, or set insecureSkipVerify"
    elif _speaks_no_tls(error):
        reason = "it does not speak TLS"
        advice = "if it is meant to be plain HTTP, give its address as http:// in docker:registryAuth"
    elif isinstance(error, httpx.TimeoutException):
        reason = "no answer in time"
        advice = "check the address and the network"
    else:
        reason = str(error) or type(error).__name__
        advice = "check the address, and that the registry runs"
    return PluginError(f"cannot read the image {name}: the registry {server} cannot be reached: {reason}; {advice}")
