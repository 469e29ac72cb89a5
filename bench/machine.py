"""Describes the machine of the measurements and the versions that run there, without paths and host names."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from bench.helm_part import HELM
from lab.toolchain.fallback import is_launcher
from lab.toolchain.layout import bin_folder
from lab.toolchain.parts import BUILDKIT, DOCKER_BUILD, KUBERNETES, KUBERNETES_PROVIDER, LANGUAGE_HOST, PULUMI


def describe() -> dict[str, str]:
    """Names and values, in the order of the table."""
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    host = bin_folder(PULUMI) / LANGUAGE_HOST
    return {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{_distribution()}, Linux {platform.release()}",
        "Python": platform.python_version(),
        **{
            part.title: part.version for part in (PULUMI, KUBERNETES_PROVIDER, DOCKER_BUILD, KUBERNETES, BUILDKIT, HELM)
        },
        "Python language host": "the lab's own" if is_launcher(host) else PULUMI.version,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
