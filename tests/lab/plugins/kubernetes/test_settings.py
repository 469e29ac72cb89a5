"""The provider's own configuration: what it takes from the engine and the environment, and when it must be replaced."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import configuring, values
from lab.plugins.kubernetes.client import ClientSettings
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.kubernetes.throttle import Throttle
from lab.plugins.kubernetes.values import UNKNOWN
from lab.plugins.serving import PluginError

DiffResponse = provider_pb2.DiffResponse


def settings(**variables: str) -> Settings:
    return Settings.of({f"kubernetes:config:{key}": value for key, value in variables.items()})


def test_the_defaults_are_the_official_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings()
    assert found.client == ClientSettings(qps=50, burst=120)
    assert not found.enable_config_map_mutable


def test_the_configuration_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
    monkeypatch.setenv("PULUMI_K8S_CLIENT_QPS", "7.5")
    monkeypatch.setenv("PULUMI_K8S_CLIENT_BURST", "9")
    assert settings().delete_unreachable
    assert not settings(deleteUnreachable="false").delete_unreachable
    assert (settings().client.qps, settings().client.burst) == (7.5, 9)
    told = settings(kubeClientSettings='{"qps": 500, "burst": 1000, "timeout": 5}').client
    assert told == ClientSettings(qps=500, burst=1000, timeout_seconds=5)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('{"qps": "fast"}', r"invalid value specified for kubeClientSettings.qps: 'fast' is no number"),
        ("{", r"failed to unmarshal kubeClientSettings option"),
        ("[]", r"must be an object"),
    ],
)
def test_bad_client_settings_are_named(told: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        settings(kubeClientSettings=told)


def test_what_only_the_official_plugin_can_do_is_refused_at_the_provider() -> None:
    request = provider_pb2.CheckRequest(
        news=values.write({"renderYamlToDirectory": "out", "enableServerSideApply": False})
    )
    failures = {failure.property: failure.reason for failure in configuring.check_config(request).failures}
    assert sorted(failures) == ["enableServerSideApply", "renderYamlToDirectory"]
    assert all("pulumi-resource-kubernetes v4.34.2" in reason for reason in failures.values())


def cluster(server: str, context: str = "c") -> str:
    return json.dumps(
        {
            "clusters": [{"name": "k", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "k"}}, {"name": "d", "context": {"cluster": "k"}}],
            "current-context": context,
        }
    )


def diff(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    request = provider_pb2.DiffRequest(old_inputs=values.write(old), news=values.write(new))
    response = configuring.diff_config(request)
    assert (response.changes == DiffResponse.DIFF_SOME) == bool(response.diffs)
    return sorted(response.diffs), list(response.replaces)


def test_another_cluster_replaces_the_provider_and_nothing_else_does() -> None:
    here = {"kubeconfig": cluster("https://a")}
    assert diff(here, here) == ([], [])
    assert diff(here, {"kubeconfig": cluster("https://b")}) == (["kubeconfig"], ["kubeconfig"])
    assert diff(here, {"kubeconfig": cluster("https://a", "d")}) == (["kubeconfig"], [])
    assert diff(here, {**here, "namespace": "x"}) == (["namespace"], [])
    assert diff(here, {"kubeconfig": UNKNOWN}) == (["kubeconfig"], ["kubeconfig"])


def test_the_cluster_identifier_decides_where_there_is_one() -> None:
    a, b = {"kubeconfig": cluster("https://a")}, {"kubeconfig": cluster("https://b")}
    same, other = {"clusterIdentifier": "1"}, {"clusterIdentifier": "2"}
    assert diff({**a, **same}, {**b, **same}) == (["kubeconfig"], [])
    assert diff({**a, **same}, {**a, **other}) == (["clusterIdentifier"], ["clusterIdentifier"])


def seconds_for(throttle: Throttle, requests: int) -> float:
    started = time.monotonic()
    for _ in range(requests):
        throttle.wait(threading.Event())
    return time.monotonic() - started


def test_requests_above_the_burst_wait_for_their_turn() -> None:
    throttle = Throttle(qps=20, burst=5)
    assert seconds_for(throttle, 5) < 0.1
    assert 0.15 < seconds_for(throttle, 4) < 0.6


def test_no_limit_and_cancelled_mean_no_wait() -> None:
    assert seconds_for(Throttle(qps=0, burst=1), 100) < 0.1
    cancelled, started = threading.Event(), time.monotonic()
    cancelled.set()
    throttle = Throttle(qps=0.1, burst=1)
    for _ in range(3):
        throttle.wait(cancelled)
    assert time.monotonic() - started < 0.1
