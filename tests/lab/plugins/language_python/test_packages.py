"""Which provider plugins an environment's packages ask for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.plugins.language_python import packages


def install(site: Path, name: str, version: str, plugin: dict[str, object] | None = None) -> None:
    """Put a package into the folder `site`, as pip would."""
    module = name.replace("-", "_")
    (site / module).mkdir()
    (site / module / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    if plugin is not None:
        (site / module / "pulumi-plugin.json").write_text(json.dumps(plugin), encoding="utf-8")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def required_in(site: Path) -> list[dict[str, object]]:
    """Ask from within, as the host does with another environment's Python."""
    command = [sys.executable, "-S", "-I", "-c", f"import sys; sys.path.append({str(site)!r}); {FROM_WITHIN}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


FROM_WITHIN = f"import runpy; sys.path.insert(0, ''); runpy.run_path({packages.__file__!r}, run_name='__main__')"


def test_plugin_file_decides(tmp_path: Path) -> None:
    install(tmp_path, "pulumi-one", "1.2.3", {"resource": True, "name": "one", "version": "1.2.3"})
    install(tmp_path, "acme-two", "2.0.0", {"resource": True, "name": "two", "server": "https://example.org"})
    install(tmp_path, "pulumi-none", "1.0.0", {"resource": False})
    install(tmp_path, "requests", "2.0.0")

    assert required_in(tmp_path) == [
        {"resource": True, "name": "two", "server": "https://example.org", "version": "v2.0.0"},
        {"resource": True, "name": "one", "version": "v1.2.3"},
    ]


def test_old_packages_without_plugin_file_are_known_by_name(tmp_path: Path) -> None:
    install(tmp_path, "pulumi-old", "3.1")
    install(tmp_path, "pulumi-policy", "1.21.0")
    install(tmp_path, "pulumi-strange", "1!1.0")

    assert required_in(tmp_path) == [{"resource": True, "name": "old", "version": "v3.1.0"}]


def test_own_environment_asks_for_the_pinned_providers() -> None:
    found = {package["name"]: package["version"] for package in packages.required_packages()}

    assert found == {"docker": "v5.2.0", "docker-build": "v0.0.22", "kubernetes": "v4.25.0"}


@pytest.mark.parametrize(
    ("package_version", "plugin_version"),
    [
        ("1.0", "1.0.0"),
        ("1.2.3a4", "1.2.3-alpha.4"),
        ("1.2.3b5", "1.2.3-beta.5"),
        ("1.2.3rc6", "1.2.3-rc.6"),
        ("1.2.3.post4", "1.2.3+post4"),
        ("1.2.3.post4.dev5", "1.2.3+post4dev5"),
        ("1.2.3.dev5", "1.2.3+dev5"),
        ("1!2.0", None),
        ("1.2.3+local", None),
        ("", None),
    ],
)
def test_plugin_version(package_version: str, plugin_version: str | None) -> None:
    assert packages.plugin_version(package_version) == plugin_version
