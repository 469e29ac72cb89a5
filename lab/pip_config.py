"""Copies the host's pip settings into images, so that `RUN pip install` finds packages where the host finds them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

# Settings that mean the same inside an image. Folders and files of the host do not.
_CARRIED = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout", "retries", "proxy")


def of_host() -> dict[str, str]:
    """pip's settings as it resolves them here: the environment overrides files."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse(result.stdout)


def parse(listing: str) -> dict[str, str]:
    """Parse `global.index-url='https://…'` and `:env:.timeout='180'` lines to names and values."""
    found: dict[str, str] = {}
    by_strength = sorted(listing.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in by_strength:
        key, separator, value = line.partition("=")
        if separator and value[:1] in "'\"":
            found[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    return found


def has_credentials(value: str) -> bool:
    return any(urlsplit(part).username is not None for part in value.split())


def for_image(settings: Mapping[str, str], bundle: str) -> str:
    """The text of an image's `/etc/pip.conf`. An address with a login stays out: images are pushed to registries."""
    carried = {key: value for key, value in settings.items() if key in _CARRIED and not has_credentials(value)}
    lines = [f"{key} = {' '.join(value.split())}" for key, value in sorted(carried.items())]
    return "\n".join(["[global]", f"cert = {bundle}", "disable-pip-version-check = true", *lines, ""])
