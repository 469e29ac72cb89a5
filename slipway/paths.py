"""The folders that Slipway uses: the checkout, the toolchain cache and the lab's state."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
# In a variable `SERVICE_NAME_FILE`, replaced by the stack's name, so that each environment has its own file.
STACK_PLACEHOLDER = "{stack}"


def cache_home() -> Path:
    """Folder for what can be recreated (toolchain, build caches): `SLIPWAY_CACHE`, else the XDG cache folder."""
    return _chosen("SLIPWAY_CACHE", "XDG_CACHE_HOME", ".cache")


def data_home() -> Path:
    """Folder for what must not be lost (the lab's file backend, its keys): `SLIPWAY_HOME`, else the XDG data folder."""
    return _chosen("SLIPWAY_HOME", "XDG_DATA_HOME", ".local/share")


def _chosen(own: str, of_desktop: str, in_home: str) -> Path:
    """A relative path in an XDG variable is ignored: https://specifications.freedesktop.org/basedir-spec/"""
    if chosen := os.environ.get(own):
        return Path(chosen).absolute()
    folder = Path(os.environ.get(of_desktop, ""))
    return (folder if folder.is_absolute() else Path.home() / in_home) / "slipway"


def lab_environment_file() -> Path:
    """JSON object of the environment variables that a running lab sets in a shell; missing until a lab was created."""
    return data_home() / "lab" / "environment.json"


def toolchain_environment_file() -> Path:
    """JSON object of the environment variables that put the toolchain on PATH; missing until it is installed."""
    return data_home() / "toolchain.json"
