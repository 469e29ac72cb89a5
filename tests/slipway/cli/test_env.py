"""`slipway env`: what a shell is given, and who wins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.paths import CHECKOUT


def exports(slipway: Any, **variables: str) -> dict[str, str]:
    result = slipway("env", "--json", **variables)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.fixture
def with_lab(slipway: Any) -> Any:
    slipway.write_toolchain()
    slipway.write_lab()
    return slipway


def test_without_a_toolchain_it_says_how_to_get_one(slipway: Any) -> None:
    result = slipway("env")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "The toolchain is not installed" in result.stderr
    assert "make up" in result.stderr


def test_the_lab_and_the_toolchain_are_exported(with_lab: Any) -> None:
    found = exports(with_lab)
    assert found["KUBECONFIG"] == "/lab/kubeconfig"
    assert found["PULUMI_HOME"] == "/toolchain/home"
    assert found["PATH"].startswith("/toolchain/bin:")
    assert found["PATH"].endswith(f":{Path(sys.executable).parent}")
    assert found["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] == "true"


def test_what_is_only_for_who_has_none_of_their_own_comes_behind_the_users_path(with_lab: Any) -> None:
    with_lab.write_toolchain(PATH_BEHIND=["/toolchain/kubectl"])
    found = exports(with_lab, PATH="/mine:/usr/bin")
    assert found["PATH"] == f"/toolchain/bin:/mine:/usr/bin:/toolchain/kubectl:{Path(sys.executable).parent}"
    assert exports(with_lab, **found)["PATH"] == found["PATH"]
    assert "PATH_BEHIND" not in found


def test_the_exports_mean_the_same_to_a_shell(with_lab: Any) -> None:
    odd = 'it\'s a "$HOME" `x` \\ path'
    with_lab.write_lab(SLIPWAY_BASE_IMAGE=odd)
    script = with_lab("env").stdout + '\nprintf %s "$SLIPWAY_BASE_IMAGE"'
    shell = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, env={"PATH": "/bin"})
    assert shell.stdout == odd


@pytest.mark.parametrize("name", ["PULUMI_BACKEND_URL", "SLIPWAY_BASE_IMAGE", "PULUMI_HOME", "SLIPWAY_REGISTRY"])
def test_what_the_user_has_set_wins(with_lab: Any, name: str) -> None:
    with_lab.write_lab(SLIPWAY_BASE_IMAGE="lab/python")
    assert name not in exports(with_lab, **{name: "mine"})


def test_a_passphrase_of_the_user_replaces_the_labs_file(with_lab: Any) -> None:
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in exports(with_lab, PULUMI_CONFIG_PASSPHRASE="mine")


def test_asking_twice_changes_nothing(with_lab: Any) -> None:
    once = exports(with_lab)
    assert exports(with_lab, **once) == {"PATH": once["PATH"], "SLIPWAY_CHECKOUT": once["SLIPWAY_CHECKOUT"]}


def test_the_plugins_are_those_of_the_checkout_that_runs(with_lab: Any) -> None:
    assert exports(with_lab, SLIPWAY_CHECKOUT="/another/clone")["SLIPWAY_CHECKOUT"] == str(CHECKOUT)


def test_a_cluster_with_a_registry_takes_nothing_from_the_lab(with_lab: Any) -> None:
    found = exports(with_lab, KUBECONFIG="/my/kubeconfig", SLIPWAY_REGISTRY="registry.example/team")
    assert set(found) == {"PATH", "PULUMI_HOME", "SLIPWAY_CHECKOUT"}


def test_the_registry_may_be_in_the_settings_of_an_environment(with_lab: Any) -> None:
    (with_lab.folder / "Pulumi.prod.yaml").write_text("config:\n  slipway:registry: registry.example\n")
    assert set(exports(with_lab, KUBECONFIG="/my/kubeconfig")) == {"PATH", "PULUMI_HOME", "SLIPWAY_CHECKOUT"}


def test_a_cluster_without_a_registry_is_refused(with_lab: Any) -> None:
    result = with_lab("env", KUBECONFIG="/my/kubeconfig")
    assert result.returncode == 2
    assert "KUBECONFIG is set to /my/kubeconfig, but no registry is" in result.stderr
    assert "SLIPWAY_REGISTRY" in result.stderr


def test_the_labs_own_kubeconfig_is_no_cluster_of_the_user(with_lab: Any) -> None:
    assert exports(with_lab, KUBECONFIG="/lab/kubeconfig")["PULUMI_BACKEND_URL"] == "file:///lab/backend"


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_file_is_named(with_lab: Any, content: str) -> None:
    (with_lab.home / "data" / "toolchain.json").write_text(content)
    result = with_lab("env")
    assert result.returncode == 2
    assert "toolchain.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_only_the_toolchain_where_there_is_no_lab(slipway: Any) -> None:
    slipway.write_toolchain()
    assert set(exports(slipway)) == {"PATH", "PULUMI_HOME", "SLIPWAY_CHECKOUT"}
