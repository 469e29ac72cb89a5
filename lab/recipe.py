"""The inputs of the base image: this host's mirrors, certificate authorities and pip settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from . import pip_config
from .shell import attempt

_DEFAULT_SUITE = "bookworm"
# With pip, like the public images: `RUN pip install` in a Dockerfile must work in both.
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
# Documentation and translations are half of a small system, and no service reads them.
UNWANTED = ("doc", "man", "locale", "info", "lintian")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Counts up when `base_image` makes a different image from the same inputs.
_REVISION = 3
_OPTION = re.compile(r'^(Acquire::[^ ]*(?:Proxy|CaInfo|Verify|Check|Retries|Timeout)[^ ]* ".+");$')


@dataclass(frozen=True)
class Recipe:
    """All inputs of the image; their digest decides whether the image must be made again."""

    suite: str
    sources: tuple[str, ...]
    apt_options: tuple[str, ...]
    authorities: str
    pip_config: str

    def digest(self) -> str:
        parts = (*astuple(self), PACKAGES, UNWANTED, _REVISION)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def apt_sources(index_targets: str, suite: str) -> tuple[str, ...]:
    """Source lines for Debian's own `suite`, from `ORIGIN|RELEASE|COMPONENT|URI` lines of `apt-get indextargets`.

    Empty if the system has no mirror of Debian: mmdebstrap then uses Debian's public one.
    """
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    lines = []
    for line in index_targets.splitlines():
        origin, release, component, uri = line.split("|", 3)
        # Before the first `apt-get update` the origin is unknown, and apt prints the placeholder instead.
        debian = origin == "Debian" or (origin.startswith("$(") and uri.rstrip("/").endswith(("debian", "-security")))
        if debian and release in suites and component == "main":
            lines.append(f"deb {uri} {release} {component}")
    return tuple(dict.fromkeys(lines))


def apt_options(dump: str) -> tuple[str, ...]:
    """The options for this host's mirrors (proxy, authorities, checks), from `apt-config dump`."""
    return tuple(found[1] for line in dump.splitlines() if (found := _OPTION.match(line)))


def read_recipe() -> Recipe:
    suite = _host_suite()
    target_format = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
    targets = attempt(["apt-get", "indextargets", "--format", target_format, "Created-By: Packages"]).stdout
    return Recipe(
        suite=suite,
        sources=apt_sources(targets, suite),
        apt_options=apt_options(attempt(["apt-config", "dump"]).stdout),
        authorities=BUNDLE.read_text() if BUNDLE.exists() else "",
        pip_config=pip_config.for_image(pip_config.of_host(), str(BUNDLE)),
    )


def _host_suite() -> str:
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return values.get("VERSION_CODENAME", _DEFAULT_SUITE) if values.get("ID") == "debian" else _DEFAULT_SUITE


def signature() -> str:
    """A quick hash over the files and variables that a recipe is read from; the same hash means the same recipe."""
    seen = [f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in sorted(set(_origins()))]
    variables = [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("PIP_")]
    return hashlib.sha256("\n".join([str(_REVISION), *seen, *variables]).encode()).hexdigest()


def _origins() -> Iterator[Path]:
    home, apt = Path.home(), Path("/etc/apt")
    folders = (apt, apt / "sources.list.d", apt / "apt.conf.d")
    candidates = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    candidates += [BUNDLE, Path("/etc/os-release"), Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf")]
    candidates += [home / ".pip/pip.conf", home / ".config/pip/pip.conf", Path(sys.prefix) / "pip.conf"]
    candidates += [Path(path) for path in [os.environ.get("PIP_CONFIG_FILE")] if path]
    return (path for path in candidates if path.is_file())
