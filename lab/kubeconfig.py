"""Kubeconfig files: one for the user, one for each component that speaks to the API server."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from .files import write_text
from .settings import LabSettings

# kubeconfig file name -> name of its certificate
COMPONENTS = ("controller-manager", "scheduler", "kubelet", "proxy", "dns")


def user_kubeconfig(settings: LabSettings) -> Path:
    return settings.home / "kubeconfig"


def component_kubeconfig(settings: LabSettings, name: str) -> Path:
    return settings.config / f"{name}.kubeconfig"


def write_kubeconfigs(settings: LabSettings) -> None:
    write_text(user_kubeconfig(settings), render(settings, "admin"))
    for name in COMPONENTS:
        write_text(component_kubeconfig(settings, name), render(settings, name))


def render(settings: LabSettings, certificate: str) -> str:
    """A kubeconfig with embedded certificates and keys, so that a copy works anywhere on this machine."""

    def embedded(file_name: str) -> str:
        return base64.b64encode((settings.pki / file_name).read_bytes()).decode()

    name = "slipway-lab"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": settings.apiserver_url,
                        "certificate-authority-data": embedded("ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": certificate,
                    "user": {
                        "client-certificate-data": embedded(f"{certificate}.crt"),
                        "client-key-data": embedded(f"{certificate}.key"),
                    },
                }
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": certificate}}],
            "current-context": name,
        },
        sort_keys=False,
    )
