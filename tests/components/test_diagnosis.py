"""The error hook says what it can, and never stands before the engine's own error."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pulumi import ErrorHookArgs
from pulumi.runtime.sync_await import _sync_await

from components import diagnosis

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::user-service"
INPUTS = {"metadata": {"name": "user-service", "namespace": "slipway-dev"}}
KUBECONFIG = """\
    apiVersion: v1
    kind: Config
    current-context: closed
    contexts: [{name: closed, context: {cluster: closed, user: nobody}}]
    clusters: [{name: closed, cluster: {server: "http://127.0.0.1:1"}}]
    users: [{name: nobody, user: {}}]
"""


@dataclass
class Engine:
    """Keeps what it is told."""

    told: list[Any] = field(default_factory=list)

    def Log(self, request: Any) -> None:  # noqa: N802 -- the protocol's name
        self.told.append(request)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    made, kubeconfig = Engine(), tmp_path / "kubeconfig"
    kubeconfig.write_text(textwrap.dedent(KUBECONFIG))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    monkeypatch.setattr(diagnosis, "get_engine", lambda: made)
    return made


def explain(operation: str = "update", inputs: Any = INPUTS, error: str = "3 errors occurred") -> bool:
    args = ErrorHookArgs(URN, "id", "user-service", "t", inputs, failed_operation=operation, errors=[error])
    return _sync_await(diagnosis.explain(None, args))


def test_a_cluster_that_cannot_be_asked_is_said_in_a_line(engine: Engine) -> None:
    assert explain() is False
    (told,) = engine.told
    assert told.urn == URN
    assert told.message.startswith("Why it failed could not be found out: the cluster does not answer:")
    assert "\n" not in told.message


@pytest.mark.parametrize(
    "how",
    [
        {"operation": "delete"},
        {"error": "Resource operation was cancelled for 'slipway-dev/user-service'"},
        {"inputs": None},
        {"inputs": {"metadata": {}}},
    ],
    ids=["a deletion", "a cancelled update", "no inputs", "no name"],
)
def test_nothing_is_said_where_there_is_nothing_to_explain(engine: Engine, how: dict[str, Any]) -> None:
    assert explain(**how) is False
    assert engine.told == []


def test_a_context_that_does_not_exist_is_named(engine: Engine) -> None:
    args = ErrorHookArgs(URN, "id", "user-service", "t", INPUTS, failed_operation="create", errors=["x"])
    assert _sync_await(diagnosis.explain("elsewhere", args)) is False
    assert "elsewhere" in engine.told[0].message
