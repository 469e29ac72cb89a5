"""Which context of which file is used, as kubectl would use it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.preflight import kubeconfig_problem
from slipway.cluster.client import Cluster, ClusterError
from slipway.cluster.kubeconfig import KubeconfigError, read_kubeconfig


def write(file: Path, *contexts: str, current: str = "") -> Path:
    """A kubeconfig in which each context has a cluster of its own, at `http://CONTEXT.FILE.example`."""
    servers = {name: f"http://{name}.{file.name}.example" for name in contexts}
    content = {
        "clusters": [{"name": f"of-{name}", "cluster": {"server": server}} for name, server in servers.items()],
        "contexts": [{"name": name, "context": {"cluster": f"of-{name}", "user": "u"}} for name in contexts],
        "users": [{"name": "u", "user": {}}],
    }
    file.write_text(json.dumps(content | ({"current-context": current} if current else {})))
    return file


def test_a_context_can_be_named_where_there_is_no_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a", "one", "two")
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert kubeconfig_problem("two") == ""
    assert Cluster.connect("two", str(file)).client.configuration.host == "http://two.a.example"


@pytest.mark.parametrize(
    ("context", "current", "message"),
    [
        (None, "", "the kubeconfig has no current-context; name one with `slipway:context`, or choose one with"),
        (None, "gone", "the current-context is 'gone', which the kubeconfig does not have; it has: one, two"),
        ("three", "one", "`slipway:context` is 'three', which the kubeconfig does not have; it has: one, two"),
        ("three", "", "`slipway:context` is 'three', which the kubeconfig does not have; it has: one, two"),
    ],
)
def test_a_context_that_there_is_not_is_reported_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str | None, current: str, message: str
) -> None:
    file = write(tmp_path / "a", "one", "two", current=current)
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert kubeconfig_problem(context).startswith(message)
    with pytest.raises(ClusterError, match="it has: one, two"):
        Cluster.connect(context, str(file))


def test_of_several_files_the_first_counts_as_it_does_for_kubectl(tmp_path: Path) -> None:
    """The Python client would take the last current-context: another cluster than kubectl and the provider."""
    files = [
        tmp_path / "missing",
        write(tmp_path / "a", "one", current="one"),
        write(tmp_path / "b", "two", "one", current="two"),
    ]
    variable = os.pathsep.join(map(str, files))
    found = read_kubeconfig(variable)
    assert (found.context(None), found.server("one"), found.server("two")) == (
        "one",
        "http://one.a.example",
        "http://two.b.example",
    )
    assert Cluster.connect(None, variable).client.configuration.host == "http://one.a.example"


@pytest.mark.parametrize("text", ["[", "- a", "contexts: [{context: {}}]", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "a"
    file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(KubeconfigError, match=f"{file} is not a kubeconfig: "):
        read_kubeconfig(str(file))
    assert kubeconfig_problem(None).startswith(f"{file} is not a kubeconfig: ")


def test_without_a_kubeconfig_only_what_needs_one_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert kubeconfig_problem(None) == ""
    assert kubeconfig_problem("x") == "`slipway:context` is 'x', but there is no kubeconfig to find it in"
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert kubeconfig_problem(None).startswith(f"KUBECONFIG names {tmp_path / 'missing'}, which does not exist")
