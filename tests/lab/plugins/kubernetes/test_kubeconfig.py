"""Kubeconfigs of every form: paths, contents, several files, credentials; and what a broken one says."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.plugins.kubernetes import kubeconfig
from lab.plugins.kubernetes.credentials import Credentials
from lab.plugins.kubernetes.kubeconfig import KubeconfigError, Overrides, connect


def config(**more: Any) -> dict[str, Any]:
    return {
        "clusters": [
            {"name": "one", "cluster": {"server": "https://one:6443/"}},
            {"name": "two", "cluster": {"server": "two:6443", "insecure-skip-tls-verify": True}},
        ],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [
            {"name": "first", "context": {"cluster": "one", "user": "me", "namespace": "apps"}},
            {"name": "second", "context": {"cluster": "two", "user": "me"}},
        ],
        "current-context": "first",
        **more,
    }


def written(folder: Path, content: Any, name: str = "config") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_the_current_context_is_used(tmp_path: Path) -> None:
    connection = connect(written(tmp_path, config()), Overrides())
    assert connection.cluster.server == "https://one:6443"
    assert (connection.context, connection.namespace, connection.user.token) == ("first", "apps", "secret")


@pytest.mark.parametrize("form", ["path", "yaml", "json"])
def test_a_path_and_its_content_are_the_same(tmp_path: Path, form: str) -> None:
    told = {"path": written(tmp_path, config()), "yaml": yaml.safe_dump(config()), "json": json.dumps(config())}[form]
    assert connect(told, Overrides()).cluster.server == "https://one:6443"


def test_content_in_one_long_line_is_no_path() -> None:
    told = config()
    told["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(b"x" * 900).decode()
    assert connect(json.dumps(told), Overrides()).cluster.certificate_authority == b"x" * 900
    flow = yaml.safe_dump(told, default_flow_style=True, width=100_000).replace("\n", " ")
    assert connect(flow, Overrides()).cluster.certificate_authority == b"x" * 900


def test_overrides_win(tmp_path: Path) -> None:
    path = written(tmp_path, config())
    connection = connect(path, Overrides(context="second", namespace="mine"))
    assert (connection.cluster.server, connection.namespace) == ("https://two:6443", "mine")
    assert connection.cluster.insecure_skip_tls_verify
    assert connect(path, Overrides(cluster="two")).cluster.server == "https://two:6443"
    assert connect(path, Overrides(context="second")).namespace == "default"


def test_several_files_are_merged_the_first_winning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path, {"users": [{"name": "me", "user": {"token": "first"}}], "current-context": "second"}, "a")
    second = written(tmp_path, config(), "b")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([first, str(tmp_path / "missing"), second]))
    connection = connect("", Overrides())
    assert (connection.context, connection.user.token) == ("second", "first")
    assert connect(os.environ["KUBECONFIG"], Overrides()) == connection, "the SDK passes $KUBECONFIG on as it is"


def test_the_home_folders_config_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kube").mkdir()
    written(tmp_path / ".kube", config())
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert connect("", Overrides()).context == "first"
    assert connect("~/.kube/config", Overrides()).context == "first"


def test_files_are_found_beside_the_kubeconfig_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"authority")
    (tmp_path / "me.crt").write_bytes(b"certificate")
    told = config()
    told["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    told["users"][0]["user"] = {
        "client-certificate": "me.crt",
        "client-key-data": base64.b64encode(b"key").decode(),
    }
    connection = connect(written(tmp_path, told), Overrides())
    assert connection.cluster.certificate_authority == b"authority"
    assert (connection.user.client_certificate, connection.user.client_key) == (b"certificate", b"key")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("{", r"is no valid YAML"),
        ("[]", r"is no kubeconfig: an object with `clusters` and `contexts` is expected"),
        ({"clusters": {"a": 1}}, r"`clusters` must be a list of objects with a name"),
        (config(**{"current-context": ""}), r"has no current context; .*Contexts: first, second"),
        (config(**{"current-context": "gone"}), r"context 'gone' .* is not in the kubeconfig; it has first, second"),
        (config(clusters=[]), r"cluster 'one' of context 'first' is not in the kubeconfig; it has none"),
        (config(users=[]), r"user 'me' of context 'first' is not in the kubeconfig"),
        (config(clusters=[{"name": "one", "cluster": {}}]), r"cluster 'one' of the kubeconfig has no `server`"),
        (config(users=[{"name": "me", "user": {"auth-provider": {"name": "gcp"}}}]), r"which Kubernetes 1.26 removed"),
        (config(users=[{"name": "me", "user": {"client-key-data": "%"}}]), r"client-key-data is no base64"),
        (config(users=[{"name": "me", "user": {"client-key": "none.key"}}]), r"client-key cannot be read: .*none.key"),
        (config(users=[{"name": "me", "user": {"exec": {"args": []}}}]), r"`exec` has no `command`"),
    ],
)
def test_a_broken_kubeconfig_says_what_is_wrong(tmp_path: Path, told: Any, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        connect(written(tmp_path, told), Overrides())


def test_a_path_that_does_not_exist_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KubeconfigError, match=r"the kubeconfig '.*/nowhere' does not exist"):
        connect(str(tmp_path / "nowhere"), Overrides())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(KubeconfigError, match=r"no kubeconfig with a cluster in it was found; looked at .*/nowhere"):
        connect("", Overrides())


def test_inside_a_pod_the_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("token", "pod-token"), ("ca.crt", "authority"), ("namespace", "apps\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    connection = connect("", Overrides())
    assert connection.cluster.server == "https://[fd00::1]:443"
    assert connection.namespace == "apps"
    assert Credentials(connection).headers() == {"Authorization": "Bearer pod-token"}


def credentials_of(folder: Path, **user: Any) -> Credentials:
    return Credentials(connect(written(folder, config(users=[{"name": "me", "user": user}])), Overrides()))


def test_who_asks_is_in_the_headers(tmp_path: Path) -> None:
    assert credentials_of(tmp_path, token="t").headers() == {"Authorization": "Bearer t"}
    assert credentials_of(tmp_path, username="u", password="p").headers() == {"Authorization": "Basic dTpw"}
    assert credentials_of(tmp_path, **{"as": "jane"}).headers() == {"Impersonate-User": "jane"}
    grouped = credentials_of(tmp_path, **{"as": "jane", "as-groups": ["ops", "dev"]}).headers()
    assert grouped.getlist("Impersonate-Group") == ["ops", "dev"]


def test_a_token_file_is_read_again_when_the_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")
    credentials = credentials_of(tmp_path, tokenFile="token")
    assert credentials.headers()["Authorization"] == "Bearer old"
    (tmp_path / "token").write_text("new\n")
    assert credentials.forget(), "asking again may help"
    assert credentials.headers()["Authorization"] == "Bearer new"
    assert not credentials_of(tmp_path, token="t").forget(), "a fixed token stays as it is"


def plugin(folder: Path, script: str, **more: Any) -> Credentials:
    path = folder / "login"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return credentials_of(folder, exec={"command": "./login", **more})


def test_a_credential_plugin_is_asked_once_until_its_token_ends(tmp_path: Path) -> None:
    script = """
echo run >> $COUNT
test -n "$KUBERNETES_EXEC_INFO" && echo '{"status": {"token": "from-plugin", "expirationTimestamp": "UNTIL"}}'
"""
    count = tmp_path / "count"
    environment = [{"name": "COUNT", "value": str(count)}]
    lasting = plugin(tmp_path, script.replace("UNTIL", "2999-01-01T00:00:00Z"), env=environment)
    assert [lasting.headers()["Authorization"] for _ in range(2)] == ["Bearer from-plugin"] * 2
    assert count.read_text() == "run\n"
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    ending = plugin(tmp_path, script.replace("UNTIL", soon), env=environment)
    for _ in range(2):
        ending.headers()
    assert count.read_text() == "run\n" * 3, "a token that ends within the margin is asked for again"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo not signed in >&2; exit 3", r"ended with exit code 3: not signed in"),
        ("echo {}", r"printed no ExecCredential with a status"),
        ("echo nonsense", r"printed no ExecCredential with a status"),
    ],
)
def test_a_credential_plugin_that_fails_is_told(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        plugin(tmp_path, script).headers()


def test_a_missing_credential_plugin_says_how_to_install_it(tmp_path: Path) -> None:
    credentials = credentials_of(tmp_path, exec={"command": "no-such-login", "installHint": "apt install it"})
    with pytest.raises(KubeconfigError, match=r"'no-such-login' is not on PATH\napt install it"):
        credentials.headers()
