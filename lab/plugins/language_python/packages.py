"""The Pulumi packages installed in an environment, each with the provider plugin it needs.

Standard library only: the language host also runs this file by its path with another environment's Python, to inspect
that environment from within.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

WITHOUT_PLUGIN = frozenset({"pulumi-policy", "pulumi-esc-sdk"})
DIST_INFO = re.compile(r"(?P<name>.+?)-[^-]+\.(dist|egg)-info")
VERSION = re.compile(
    r"(?P<release>\d+(\.\d+)*)((?P<kind>a|b|rc)(?P<number>\d+))?(\.post(?P<post>\d+))?(\.dev(?P<dev>\d+))?"
)
KINDS = {"a": "alpha", "b": "beta", "rc": "rc"}


def required_packages() -> list[dict[str, Any]]:
    """The plugins of this interpreter's packages: `name`, `version`, and what their pulumi-plugin.json adds."""
    found: dict[str, dict[str, Any]] = {}
    for distribution in importlib.metadata.distributions():
        if not _may_be_pulumi_package(distribution):
            continue
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name not in found and (package := _package(name, distribution)):
            found[name] = package
    return [found[name] for name in sorted(found)]


def _may_be_pulumi_package(distribution: importlib.metadata.Distribution) -> bool:
    """Judge by the folder's name, because reading the metadata of every installed package takes most of the time."""
    folder = getattr(distribution, "_path", None)
    match = DIST_INFO.fullmatch(folder.name) if folder is not None else None
    if match is None:
        return True
    name = match["name"]
    return name.lower().startswith("pulumi") or _plugin_file(name) is not None


def _package(name: str, distribution: importlib.metadata.Distribution) -> dict[str, Any] | None:
    """A package's data about its plugin; `None` if it needs none or the plugin's version is unknown."""
    file = _plugin_file(distribution.metadata["Name"].replace("-", "_"))
    if name in WITHOUT_PLUGIN or (file is None and not name.startswith("pulumi-")):
        return None
    plugin: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file else {"resource": True}
    if not plugin.get("resource"):
        return None
    version = plugin.get("version") or plugin_version(distribution.version)
    if version is None:
        return None
    name = plugin.get("name") or name.removeprefix("pulumi-")
    return {**plugin, "name": name, "version": f"v{version.removeprefix('v')}"}


def _plugin_file(module: str) -> Path | None:
    if not module.isidentifier():  # finding a dotted name would import its parents
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # a loaded module without a `__spec__`
        return None
    folders = (spec.submodule_search_locations if spec else None) or []
    files = (Path(folder, "pulumi-plugin.json") for folder in folders)
    return next((file for file in files if file.is_file()), None)


def plugin_version(package_version: str) -> str | None:
    """The semantic version of a PEP 440 one; `None` if there is none: epochs, local versions."""
    match = VERSION.fullmatch(package_version)
    if match is None:
        return None
    release = match["release"].split(".")
    text = ".".join(release + ["0"] * (3 - len(release)))
    if match["kind"]:
        text += f"-{KINDS[match['kind']]}.{match['number']}"
    build = "".join(f"{name}{match[name]}" for name in ("post", "dev") if match[name])
    return f"{text}+{build}" if build else text


if __name__ == "__main__":
    del sys.path[0]  # this file's folder is not part of the environment
    sys.stdout.write(json.dumps(required_packages()))
