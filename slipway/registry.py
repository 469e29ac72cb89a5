"""Asks a container registry for the digest of an image, as Docker does and with Docker's credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.errors import SlipwayError

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10.0
DOCKER_HUB, DOCKER_HUB_HOST = "docker.io", "registry-1.docker.io"
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
UNAUTHORIZED, NOT_FOUND = 401, 404


class RegistryError(SlipwayError):
    """The registry does not answer, or refuses the request."""


@dataclass(frozen=True)
class ImageName:
    """`host` is the registry's host, `repository` the path below it, `reference` a tag or a digest."""

    host: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, name: str) -> ImageName:
        """Parse `name` as Docker does: without a host it is on Docker Hub, without a tag it is `latest`.

        https://github.com/distribution/reference/blob/v0.6.0/normalize.go
        """
        rest, _, digest = name.partition("@")
        first, slash, path = rest.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            first, path = DOCKER_HUB, rest if slash else f"library/{rest}"
        repository, _, tag = path.partition(":")
        return cls(first, repository, digest or tag or "latest")

    @property
    def url(self) -> str:
        host = DOCKER_HUB_HOST if self.host == DOCKER_HUB else self.host
        return f"{'http' if speaks_plain_http(self.host) else 'https'}://{host}/v2/{self.repository}/manifests/{self.reference}"


def speaks_plain_http(host: str) -> bool:
    """Whether the registry at `host` is on loopback, where Docker speaks plain HTTP."""
    return host.startswith(("127.", "localhost:")) or host == "localhost"


def image_digest(name: str) -> str | None:
    """The digest (`sha256:…`) that the registry has for `name`; `None` if it has none. Raises RegistryError."""
    import httpx  # noqa: PLC0415 -- takes a tenth of a second, and only this needs it

    image = ImageName.parse(name)
    try:
        # Loopback never uses a proxy of the environment. It needs no certificate authorities, which take 60 ms to read.
        # So a redirect to another host is not followed: its certificate would not be verified.
        away = not speaks_plain_http(image.host)
        with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=away, trust_env=away, verify=away) as client:
            answer = _head(client, image)
    except httpx.HTTPError as error:
        raise RegistryError(f"The registry {image.host} does not answer.", why=f"{error}") from error
    if answer.status_code == NOT_FOUND:
        return None
    if not answer.is_success or "Docker-Content-Digest" not in answer.headers:
        raise RegistryError(
            f"The registry {image.host} does not say which digest {name} has.",
            why=f"It answered {answer.status_code} {answer.reason_phrase}.",
            next_step=f"`docker login {image.host}` stores credentials for it.",
        )
    return str(answer.headers["Docker-Content-Digest"])


def _head(client: httpx.Client, image: ImageName) -> httpx.Response:
    """Try without credentials first: most base images are public, and a credential helper is slow."""
    headers = {"Accept": ", ".join(MANIFESTS)}
    answer = client.head(image.url, headers=headers)
    if answer.status_code != UNAUTHORIZED:
        return answer
    challenge = answer.headers.get("WWW-Authenticate", "")
    scheme, _, rest = challenge.partition(" ")
    credentials = _credentials(image.host)
    if scheme.lower() == "basic" and credentials:
        return client.head(image.url, headers=headers, auth=credentials)
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if scheme.lower() != "bearer" or "realm" not in fields:
        return answer
    query = {key: fields[key] for key in ("service", "scope") if key in fields}
    granted = client.get(fields["realm"], params=query, auth=credentials)
    if not granted.is_success:
        return granted
    token = granted.json().get("token") or granted.json().get("access_token")
    return client.head(image.url, headers={**headers, "Authorization": f"Bearer {token}"})


def _credentials(host: str) -> tuple[str, str] | None:
    """From Docker's configuration, including its credential helpers; `None` if there are none."""
    from docker import auth  # noqa: PLC0415 -- see above

    found = auth.load_config().resolve_authconfig(None if host == DOCKER_HUB else host) or {}
    name, password = found.get("username") or found.get("Username"), found.get("password") or found.get("Password")
    return (name, password) if name and password else None
