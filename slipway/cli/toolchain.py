"""`slipway lab toolchain`: the pinned engine, its plugins and kubectl, without the parts that only a lab runs."""

from __future__ import annotations

from lab.toolchain import install as install_toolchain
from slipway.errors import ExitCode
from slipway.progress import Progress


def install(progress: Progress | None = None) -> int:
    """Install these parts of the toolchain; quick if all are there."""
    progress = progress or Progress()
    with progress.step("Toolchain"):
        install_toolchain(progress, for_lab=False)
    return ExitCode.DONE
