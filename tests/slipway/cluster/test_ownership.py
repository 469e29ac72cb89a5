"""An object that exists is looked at before it is created, unless it is inside a namespace that is new too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster.client import NotFoundError
from slipway.cluster.deployed import ApiResource
from slipway.cluster.ownership import NAMESPACE, Creations, Ownership, OwnershipError

ISSUER = ApiResource("cert-manager.io/v1", "ClusterIssuer")
CONFIG_MAP = ApiResource("v1", "ConfigMap")
SERVED = {
    "/api/v1": [
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
    ],
    "/apis/cert-manager.io/v1": [{"name": "clusterissuers", "kind": "ClusterIssuer", "namespaced": False}],
}
LIVE = "/apis/cert-manager.io/v1/clusterissuers/letsencrypt"


class Recorded:
    """A cluster that has one cluster-scoped object; it keeps the paths that were read."""

    def __init__(self) -> None:
        self.read_paths: list[str] = []

    def read(self, path: str) -> dict[str, Any]:
        if path in SERVED:
            return {"resources": SERVED[path]}
        self.read_paths.append(path)
        if path == LIVE:
            return {"metadata": {"uid": "of another team", "creationTimestamp": "2026-01-01T00:00:00Z"}}
        raise NotFoundError

    def now(self) -> datetime:
        return datetime.now(UTC)


class NoHistory:
    """The history of a stack without updates."""

    numbers: tuple[int, ...] = ()

    def present(self) -> None:
        return None


def test_a_cluster_scoped_object_is_looked_at_whatever_namespace_it_names(tmp_path: Path) -> None:
    cluster: Any = Recorded()
    history: Any = NoHistory()
    ownership = Ownership(lambda: cluster, lambda: history, Creations(tmp_path / "creations"))
    ownership.require("urn:a", NAMESPACE, "", "shop")
    ownership.require("urn:b", CONFIG_MAP, "shop", "settings")
    assert cluster.read_paths == ["/api/v1/namespaces/shop"], "what is inside cannot exist"
    with pytest.raises(OwnershipError, match="ClusterIssuer letsencrypt exists already"):
        ownership.require("urn:c", ISSUER, "shop", "letsencrypt")
