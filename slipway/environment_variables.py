"""Resolves the variables that a shell or a child process needs (the user's own override the lab's), and the proxies."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slipway.errors import ConfigurationError
from slipway.paths import CHECKOUT, lab_environment_file, toolchain_environment_file

TRUE = {"1", "t", "true"}
"""What the engine takes for true in a variable, in lower case."""
BACKEND_URL = "SLIPWAY_BACKEND_URL"
"""Set for the program while its engine uses another backend, that of `slipway.backend.update_service`."""
REGISTRY_SETTING = re.compile(r"^\s*[\"']?slipway:registry[\"']?\s*:", re.MULTILINE)
# Go never uses a proxy for loopback; Python and curl do unless a variable says so.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NO_PROXY = ("no_proxy", "NO_PROXY")


@dataclass(frozen=True)
class ShellEnvironment:
    """The variables to export in addition to the user's own, and whether they lead to the lab."""

    exports: Mapping[str, str]
    uses_lab: bool
    lab_backend_url: str | None = None
    """The lab's file backend if stacks are kept there; `None` if the user set another backend or uses no lab."""

    def complete(self, user: Mapping[str, str]) -> dict[str, str]:
        """All environment variables of a child process."""
        return {**user, **self.exports}


def resolve(user: Mapping[str, str], project: Path | None, stack: str = "*") -> ShellEnvironment:
    """The variables to export for the environment `user`; `project` is the folder whose `Pulumi.<stack>.yaml` may name
    a registry (any of these files if the stack is not known).

    Raises ConfigurationError if the toolchain is not installed, or if KUBECONFIG names another cluster than the lab's
    and no registry is set for it: images would go to the lab's registry and objects to the other cluster.
    """
    toolchain = _read(toolchain_environment_file())
    if toolchain is None:
        raise ConfigurationError(
            f"The toolchain is not installed: {toolchain_environment_file()} does not exist.",
            next_step="Run `make up`, or `slipway lab up` for the lab alone.",
        )
    exports = {name: value for name, value in toolchain.items() if isinstance(value, str) and name not in user}
    exports["SLIPWAY_CHECKOUT"] = str(CHECKOUT)  # the checkout whose fallback plugins run
    inherited = [entry for entry in user.get("PATH", os.defpath).split(os.pathsep) if entry]
    own = str(Path(sys.executable).parent)  # last, so that `slipway` is found
    entries = [*toolchain.get("PATH", []), *inherited, *toolchain.get("PATH_BEHIND", []), own]
    exports["PATH"] = os.pathsep.join(dict.fromkeys(entries))
    lab = lab_variables()
    if owns_cluster(user, project, stack):
        return ShellEnvironment(exports, uses_lab=False)
    exports |= {name: value for name, value in lab.items() if name not in user}
    if "PULUMI_CONFIG_PASSPHRASE" in user:  # the engine reads it before the file
        exports.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
    if lab and "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER" not in user:
        # The lab's salts live in its backend, not in the committed Pulumi.<env>.yaml: see slipway.backend.stacks.
        exports["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] = "true"
    lab_url = lab.get("PULUMI_BACKEND_URL")
    in_lab_backend = user.get("PULUMI_BACKEND_URL", lab_url) == lab_url
    return ShellEnvironment(exports, bool(lab), lab_url if in_lab_backend else None)


def owns_cluster(user: Mapping[str, str], project: Path | None, stack: str = "*") -> bool:
    """Whether the user has set a cluster and a registry, so that the lab is not used."""
    lab = lab_variables()
    kubeconfig, registry = user.get("KUBECONFIG"), user.get("SLIPWAY_REGISTRY")
    if not kubeconfig or kubeconfig == lab.get("KUBECONFIG"):
        return False
    if registry and registry != lab.get("SLIPWAY_REGISTRY"):
        return True
    settings = project.glob(f"Pulumi.{stack}.yaml") if project else ()
    if any(REGISTRY_SETTING.search(file.read_text(encoding="utf-8")) for file in settings):
        return True
    raise ConfigurationError(
        f"KUBECONFIG is set to {kubeconfig}, but no registry is: the lab's registry cannot serve another cluster.",
        why="With your own cluster, the registry that it pulls from must be set too.",
        next_step="Set SLIPWAY_REGISTRY or slipway:registry in Pulumi.<env>.yaml, or unset KUBECONFIG for the lab.",
    )


def secret_variable(service: str, key: str) -> str:
    """The variable in which a build server passes a secret: `ORDER_SERVICE_DATABASE_URL`, or the same with `_FILE`."""
    return f"{service}_{key}".upper().replace("-", "_")


def lab_variables() -> Mapping[str, str]:
    """The variables that the lab sets in a shell; empty if there is no lab."""
    content = _read(lab_environment_file()) or {}
    return {name: value for name, value in content.items() if isinstance(value, str)}


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", next_step="Run `slipway lab up`, which writes it again."
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{file} must hold a JSON object, not {type(content).__name__}.",
            next_step="Run `slipway lab up`, which writes it again.",
        )
    return content


@dataclass(frozen=True)
class Proxy:
    """A proxy and the environment variable that names it."""

    variable: str
    url: str


def proxy_of(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for `url`, `None` if there is none and for loopback; the client that connects applies `NO_PROXY`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = host.lower() == "localhost"
    if is_loopback:
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
