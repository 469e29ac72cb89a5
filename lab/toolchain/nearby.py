"""Looks for parts that the user has already: on PATH, or among the plugins of their own PULUMI_HOME."""

from __future__ import annotations

import os
from pathlib import Path

from lab.toolchain.files import pulumi_home, toolchain_home
from lab.toolchain.layout import plugin_folder
from lab.toolchain.parts import Part
from lab.toolchain.versions import ask_executable, ask_plugin, find_on_path, tells, version_in


def find_nearby(part: Part) -> dict[str, Path]:
    """The part's executables by name; empty if one of them is missing or unusable."""
    found = candidates(part)
    return {} if why_unusable(part, found) else found


def candidates(part: Part) -> dict[str, Path]:
    """Files with the names of the part's executables, right version or not."""
    found = {name: _find(part, name) for name in part.executables}
    return {name: path for name, path in found.items() if path is not None}


def why_unusable(part: Part, found: dict[str, Path]) -> str:
    """Why the executables in `found` cannot be used for the part; empty if they can."""
    if missing := [name for name in part.executables if name not in found]:
        return f"{' and '.join(missing)} is not on PATH"
    for executable in found.values():
        if _is_half_installed(executable):
            return "`pulumi plugin install` did not finish it"
        if not will_do(part, executable):
            return _why_not(part, executable)
    # The engine runs the companion in its own folder: without one, this copy is useless here.
    if part.companion and not (found[part.executables[0]].resolve().parent / part.companion).is_file():
        return f"{part.companion} is not beside it"
    return ""


def will_do(part: Part, executable: Path) -> bool:
    """Whether the user's `executable` can be used for the part: it runs, and its version is accepted."""
    if part.any_version:
        return reported_version(part, executable)[:1].isdigit()
    return has_version(part, executable)


def has_version(part: Part, executable: Path) -> bool:
    """Whether `executable` runs and reports the part's version."""
    if part.question is None:
        return ask_plugin(executable) == part.version
    return tells(ask_executable(executable, part.question.arguments), part.question, part.version)


def reported_version(part: Part, executable: Path) -> str:
    """The version that `executable` reports, in its shortest form; empty if it reports none."""
    if part.question is None:
        return ask_plugin(executable)
    return version_in(ask_executable(executable, part.question.arguments))


def _why_not(part: Part, executable: Path) -> str:
    version = reported_version(part, executable)
    if version[:1].isdigit():
        return f"another version ({version})"
    return "it does not start as a plugin" if part.question is None else "it does not report its version"


def _is_half_installed(executable: Path) -> bool:
    """Whether the engine's mark of a running or interrupted installation is beside the plugin's folder."""
    return executable.parent.with_name(f"{executable.parent.name}.partial").exists()


def _find(part: Part, name: str) -> Path | None:
    if found := find_on_path(name, but_not_below=toolchain_home()):
        return found
    if part.question is not None:
        return None
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    plugin = home / "plugins" / plugin_folder(part).name / name
    return plugin if plugin.is_file() and home.resolve() != pulumi_home().resolve() else None
