"""Programs that only tests run, each built once from its pinned module into the cache that the toolchain has, too."""

from __future__ import annotations

from pathlib import Path

from lab.toolchain.go import build_part, ensure_go, recipe
from lab.toolchain.layout import installation_lock, toolchain_home
from lab.toolchain.parts import GoBuild, Part, Release
from slipway.progress import Progress


def built(name: str, version: str, package: str) -> Path:
    """The executable `name` of this package of `lab/toolchain/modules/<name>`."""
    build = GoBuild(name, {name: package})
    part = Part(name=name, title=name, version=version, executables=(name,), release=Release({}), build=build)
    folder = toolchain_home() / part.folder_name
    made_by = folder / "recipe"
    progress = Progress()
    with installation_lock(progress):
        if not made_by.is_file() or made_by.read_text() != recipe(build):
            go = ensure_go(progress)
            with progress.step(f"Building {name} {version}") as step:
                build_part(part, build, go, folder / "bin", step)
            made_by.write_text(recipe(build))
    return folder / "bin" / name
