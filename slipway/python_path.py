"""Whether PYTHONPATH puts other packages in front of those that Slipway was installed with. Standard library alone."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = (
    *("typer", "click", "rich", "yaml", "pydantic", "pydantic_core", "kubernetes", "urllib3", "grpc", "google"),
    *("pulumi", "pulumi_kubernetes", "pulumi_docker", "pulumi_docker_build", "docker"),
)
USAGE = 2


def require_own_packages() -> None:
    """Return where no entry of PYTHONPATH has one of `PACKAGES`; else say which on standard error, and exit with 2.

    To be called before any of them is imported: what came instead may end in any error.
    """
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if Path(entry).resolve() == Path(sys.prefix):
            continue
        for package in PACKAGES:
            found = PathFinder.find_spec(package, [entry])
            if found and found.origin and not Path(found.origin).resolve().is_relative_to(Path(sys.prefix).resolve()):
                sys.stderr.write(
                    f"error: PYTHONPATH has another `{package}` in front of the one that Slipway was installed with.\n"
                    f"  It is {found.origin}.\n"
                    f"  next: Unset PYTHONPATH, or take {entry} out of it.\n"
                )
                sys.exit(USAGE)
