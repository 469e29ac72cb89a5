"""Which versions of the toolchain each kind of recording was made with."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from lab.toolchain.layout import bin_folder
from lab.toolchain.parts import DOCKER_BUILD, KUBERNETES, KUBERNETES_PROVIDER, PULUMI, Part
from lab.toolchain.versions import reported_version, version_in
from slipway.cluster.client import Cluster
from slipway.environment_variables import resolve
from tests.recording.workspace import CHECKOUT

FILE = CHECKOUT / "tests/recorded-versions.json"
PARTS = {part.name: part for part in (KUBERNETES, PULUMI, KUBERNETES_PROVIDER, DOCKER_BUILD)}


def read() -> dict[str, dict[str, str]]:
    """By kind of recording, the version of each part by its name."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def write(kind: str) -> None:
    """Ask every part for its version, and write them down for a kind."""
    environment = resolve(os.environ, None).complete(os.environ)
    versions = {**read(), kind: _present(environment)}
    FILE.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n")


def older(kind: Mapping[str, str], parts: Mapping[str, Part] = PARTS) -> dict[str, str]:
    """By name, the recorded version of each part that is pinned to a newer one by now."""
    return {name: kind[name] for name, part in parts.items() if _numbers(kind[name]) < _numbers(part.version)}


def _present(environment: Mapping[str, str]) -> dict[str, str]:
    server = Cluster.connect(None, environment["KUBECONFIG"]).read("/version")
    found = {KUBERNETES.name: version_in(str(server["gitVersion"]))}
    for part in (PULUMI, KUBERNETES_PROVIDER, DOCKER_BUILD):
        found[part.name] = reported_version(part, bin_folder(part) / part.executables[0])
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version))
