"""The proxy that the environment variables name for a URL; loopback never uses one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

# Go never uses a proxy for loopback; Python and curl do unless a variable says so.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NO_PROXY = ("no_proxy", "NO_PROXY")


@dataclass(frozen=True)
class Proxy:
    """A proxy and the environment variable that names it."""

    variable: str
    url: str


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def proxy_of(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for `url`, `None` if there is none and for loopback; the client that connects applies `NO_PROXY`."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return None
    names = (f"{parts.scheme}_proxy", "all_proxy")
    variables = [variable for name in names for variable in (name, name.upper())]
    return next((Proxy(name, value) for name in variables if (value := environment.get(name))), None)


def loopback_excluded(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables `NO_PROXY` and `no_proxy` with loopback among their hosts; empty if no proxy is set."""
    if not any(name.lower().endswith("_proxy") and name.lower() != "no_proxy" for name in environment):
        return {}
    hosts = [host.strip() for name in NO_PROXY for host in environment.get(name, "").split(",") if host.strip()]
    return dict.fromkeys(NO_PROXY, ",".join(dict.fromkeys([*hosts, *LOOPBACK])))
