"""Names of images, read as Docker reads them: `python:3.12-slim` is `docker.io/library/python:3.12-slim`.

The grammar is that of https://pkg.go.dev/github.com/distribution/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.plugins.serving import PluginError

DOCKER_HUB = "registry-1.docker.io"
DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "docker.io", "registry.hub.docker.com"})

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class ImageName:
    """Where an image is: the registry's host and port, the repository in it, and a tag or a digest."""

    registry: str
    repository: str
    reference: str


def parse(name: str) -> ImageName:
    """Parse an image's name; a digest overrides a tag, and `latest` is used if there is neither.

    Raises:
        PluginError: it is not the name of an image.
    """
    registry, path = _split_registry(name)
    match = _NAME.fullmatch(path)
    if match is None or (registry and not _HOST.fullmatch(registry)):
        raise PluginError(
            f"{name!r} is not the name of an image; "
            "write [registry[:port]/]repository[:tag][@sha256:digest] in lower case, such as python:3.12-slim"
        )
    repository, reference = match["path"], match["digest"] or match["tag"] or "latest"
    if registry and registry not in DOCKER_HUB_NAMES:
        return ImageName(registry, repository, reference)
    return ImageName(DOCKER_HUB, repository if "/" in repository else f"library/{repository}", reference)


def _split_registry(name: str) -> tuple[str, str]:
    """The first part is a registry if it looks like a host: a dot, a port, capitals or `localhost`."""
    first, slash, rest = name.partition("/")
    is_host = first == "localhost" or any(sign in first for sign in ".:") or first != first.lower()
    return (first, rest) if slash and is_host else ("", name)
