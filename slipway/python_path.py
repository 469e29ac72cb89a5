"""Checks that PYTHONPATH puts no package before one that Slipway was installed with. Standard library only."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from slipway.paths import CHECKOUT

PACKAGES = (
    *("typer", "click", "rich", "yaml", "pydantic", "pydantic_core", "kubernetes", "urllib3", "grpc", "google"),
    *("pulumi", "pulumi_kubernetes", "pulumi_docker", "pulumi_docker_build", "docker"),
)
# Packages beside `slipway` that it imports: other projects may use the same names.
OWN_PACKAGES = ("services", "policy", "lab")
USAGE = 2


def require_own_packages() -> None:
    """If an entry of PYTHONPATH has one of `PACKAGES`, or one of `OWN_PACKAGES` before ours, print it on standard error
    and exit with 2.

    Call it before any of them is imported: the wrong package may cause any error.
    """
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    for entry in entries:
        if Path(entry).resolve() == Path(sys.prefix):
            continue
        for package in PACKAGES:
            found = PathFinder.find_spec(package, [entry])
            if found and found.origin and not Path(found.origin).resolve().is_relative_to(Path(sys.prefix).resolve()):
                _refuse(package, found.origin, entry)
    for package in OWN_PACKAGES if entries else ():
        found = find_spec(package)
        origin = Path(found.origin) if found and found.origin else CHECKOUT / package / "__init__.py"
        if origin.resolve().parents[1] != CHECKOUT and str(origin.parents[1]) in entries:
            _refuse(package, str(origin), str(origin.parents[1]))


def _refuse(package: str, origin: str, entry: str) -> NoReturn:
    sys.stderr.write(
        f"error: PYTHONPATH has another `{package}` in front of the one that Slipway was installed with.\n"
        f"  It is {origin}.\n"
        f"  next: Unset PYTHONPATH, or take {entry} out of it.\n"
    )
    sys.exit(USAGE)
