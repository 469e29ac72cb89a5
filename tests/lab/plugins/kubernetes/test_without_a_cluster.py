"""The provider with no cluster behind it: quick to start, cheap when nothing changed, clear about what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
INPUTS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "n"},
    "data": {"x": "1"},
}
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
Start = Callable[..., Any]


@pytest.fixture
def dead(tmp_path: Path) -> str:
    """A kubeconfig of a server that is not there."""
    path = tmp_path / "kubeconfig"
    content = {
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "k"}}],
        "current-context": "gone",
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def recorded(driver: Any, name: str = "a", token: str = CONFIG_MAP, inputs: dict[str, Any] | None = None) -> Any:
    """Put an object into the state as an earlier update would have."""
    told = inputs or INPUTS
    state = {
        **told,
        "__inputs": told,
        "__initialApiVersion": told["apiVersion"],
        "__fieldManager": "pulumi-kubernetes-1",
    }
    return driver.recorded(token, name, f"n/{name}", told, state)


def cpu_seconds(driver: Any) -> float:
    fields = Path(f"/proc/{driver.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def test_it_starts_fast(start_provider: Start, dead: str) -> None:
    assert cpu_seconds(start_provider(kubeconfig=dead)) < 0.4


def test_three_hundred_unchanged_resources_cost_little_and_need_no_cluster(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead)
    labels = {"app": "web"}
    pod = {"containers": [{"name": "a", "image": "b", "env": [{"name": str(n), "value": "x"} for n in range(20)]}]}
    inputs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    token = "kubernetes:apps/v1:Deployment"
    for number in range(300):
        recorded(driver, f"web-{number}", token, inputs)
    before = cpu_seconds(driver)
    assert {driver.up(token, f"web-{number}", inputs) for number in range(300)} == {"same"}
    assert cpu_seconds(driver) - before < 0.6


def test_writing_names_the_server_and_the_context_once(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead)
    with pytest.raises(driver.Failed) as failure:
        driver.create(CONFIG_MAP, "a", INPUTS, preview=True)
    assert str(failure.value) == (
        "configured Kubernetes cluster is unreachable: http://127.0.0.1:1: Failed to establish a new connection: "
        "[Errno 111] Connection refused (context 'gone')\n"
        "Check that the cluster runs and that the provider's kubeconfig, or KUBECONFIG, and its context are the ones "
        "you mean."
    )
    with pytest.raises(driver.Failed, match=r"^configured Kubernetes cluster is unreachable, as said above$"):
        driver.create(CONFIG_MAP, "b", INPUTS)


def test_reading_and_deleting_say_how_to_forget_a_lost_cluster(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead)
    recorded(driver)
    for attempt in (lambda: driver.read(CONFIG_MAP, "a"), lambda: driver.delete(CONFIG_MAP, "a")):
        with pytest.raises(driver.Failed, match="PULUMI_K8S_DELETE_UNREACHABLE"):
            attempt()


def test_a_lost_clusters_resources_are_forgotten_when_told_so(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead, deleteUnreachable="true")
    recorded(driver)
    assert driver.read(CONFIG_MAP, "a") is None
    recorded(driver)
    driver.delete(CONFIG_MAP, "a")
    gone = start_provider(kubeconfig="/nowhere/at/all", environment={"PULUMI_K8S_DELETE_UNREACHABLE": "true"})
    recorded(gone)
    gone.delete(CONFIG_MAP, "a")


def test_updates_are_skipped_when_told_so(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead, skipUpdateUnreachable="true")
    recorded(driver)
    assert driver.up(CONFIG_MAP, "a", {**INPUTS, "data": {"x": "2"}}) == "same"
    assert driver.read(CONFIG_MAP, "a").inputs == INPUTS
    assert driver.log.wait_for("Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping...")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kubeconfig": "/nowhere/at/all"}, "the kubeconfig '/nowhere/at/all' does not exist"),
        ({"context": "other"}, "context 'other' of the configuration is not in the kubeconfig; it has gone"),
        ({"cluster": "other"}, "cluster 'other' of context 'gone' is not in the kubeconfig; it has k"),
        ({"kubeClientSettings": "["}, "failed to unmarshal kubeClientSettings option"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_once(
    start_provider: Start, dead: str, config: dict[str, str], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        start_provider(**{"kubeconfig": dead, **config})


def test_a_condition_that_cannot_be_read_is_refused_before_anything_is_made(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead)
    metadata = {**INPUTS["metadata"], "annotations": {"pulumi.com/waitFor": "Ready"}}
    with pytest.raises(driver.Failed, match='expected a "jsonpath=" or "condition=" prefix'):
        driver.check(CONFIG_MAP, "a", {**INPUTS, "metadata": metadata})


def test_manifests_are_decoded_without_a_cluster(start_provider: Start, dead: str) -> None:
    driver = start_provider(kubeconfig=dead)
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {since: 2026-01-01}\n---\n---\nkind: none\n"
    decoded = driver.invoke("kubernetes:yaml:decode", {"text": text, "defaultNamespace": "n"})
    metadata = {"name": "a", "namespace": "n"}
    assert decoded == {
        "result": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"since": "2026-01-01"}}]
    }
    with pytest.raises(driver.Failed, match="the manifest is no valid YAML"):
        driver.invoke("kubernetes:yaml:decode", {"text": "{"})
    with pytest.raises(driver.Failed, match="kubernetes:helm:template is not supported by the fallback"):
        driver.invoke("kubernetes:helm:template", {"jsonOpts": "{}"})
