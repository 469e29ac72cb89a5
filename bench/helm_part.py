"""Helm, the benchmark's peer, installed like the lab's parts: from PATH, downloaded, or built from its Go module."""

from __future__ import annotations

from pathlib import Path

from lab.toolchain import install_part
from lab.toolchain.parts import GoBuild, Part, Release, VersionQuestion
from slipway.progress import Progress

_URL = "https://get.helm.sh/helm-v{version}-linux-{arch}.tar.gz"

HELM = Part(
    name="helm",
    title="Helm",
    version="4.3.1",
    executables=("helm",),
    question=VersionQuestion(("version", "--template", "{{.Version}}"), "v{version}"),
    release=Release({_URL: f"{_URL}.sha256sum"}),
    build=GoBuild(
        "helm",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        {"helm.sh/helm/v4/internal/version.version": "v4.3.1"},
    ),
)


def install_helm(progress: Progress) -> Path:
    """The executable of the pinned Helm. Raises `SlipwayError`."""
    return install_part(HELM, progress) / HELM.executables[0]
