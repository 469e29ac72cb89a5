"""`slipway lab toolchain`: the pinned engine, its plugins and kubectl, without what only a lab runs."""

from __future__ import annotations

from lab.toolchain import install as install_toolchain
from slipway.errors import ExitCode
from slipway.progress import Progress


def install(progress: Progress | None = None) -> int:
    """Have those parts of the toolchain ready; quick when all is there."""
    progress = progress or Progress()
    with progress.step("Toolchain"):
        install_toolchain(progress, for_lab=False)
    return ExitCode.DONE
