"""Prepares a process: whose packages it imports, how often it looks for garbage. Needs only the standard library."""

from __future__ import annotations

import atexit
import gc
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
# Of new objects before a collection, and of collections before one that looks at older objects too.
# Those of Python 3.11 are 700, 10 and 10.
THRESHOLDS = (20_000, 50, 50)


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


def collect_garbage_rarely() -> None:
    """Let Python look for reference cycles rarely, and not once more in all modules before it exits.

    In the program, with 140,000 objects of the SDKs and little garbage, this takes a third of the processor time: of a
    `pulumi up` of 50 unchanged services 1.1 of 3.7 seconds, of which 0.5 to exit. The program uses as much memory with
    it as without.
    """
    gc.set_threshold(*THRESHOLDS)
    atexit.register(gc.freeze)
