"""CheckConfig, DiffConfig and Configure: the provider resource's own configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import OFFICIAL_PLUGIN, kubeconfig, values
from lab.plugins.kubernetes.kubeconfig import KubeconfigError
from lab.plugins.kubernetes.values import UNKNOWN, Object

DiffResponse = provider_pb2.DiffResponse
_WHICH_CLUSTER = ("kubeconfig", "context", "cluster")
_IDENTIFIER = "clusterIdentifier"


def check_config(request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
    """Refuse what only the official plugin can do."""
    news = values.plain(values.read(request.news))
    failures = []
    if news.get("renderYamlToDirectory"):
        failures.append(
            provider_pb2.CheckFailure(
                property="renderYamlToDirectory",
                reason=f"rendering to YAML files is not supported by the fallback; it needs {OFFICIAL_PLUGIN}",
            )
        )
    if news.get("enableServerSideApply") in (False, "false"):
        failures.append(
            provider_pb2.CheckFailure(
                property="enableServerSideApply",
                reason=f"the fallback works by server-side apply only; client-side apply needs {OFFICIAL_PLUGIN}",
            )
        )
    return provider_pb2.CheckResponse(inputs=request.news, failures=failures)


def diff_config(request: provider_pb2.DiffRequest) -> DiffResponse:
    """Another cluster replaces the provider and with it every resource; other changes are updates."""
    old = values.plain(values.read(request.old_inputs if len(request.old_inputs.fields) else request.olds))
    new = values.plain(values.read(request.news))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key) and key != "version"]
    if not changed:
        return DiffResponse(changes=DiffResponse.DIFF_NONE)
    return DiffResponse(changes=DiffResponse.DIFF_SOME, diffs=changed, replaces=_replacing(old, new, changed))


def _replacing(old: Object, new: Object, changed: list[str]) -> list[str]:
    identifiers = old.get(_IDENTIFIER), new.get(_IDENTIFIER)
    if all(identifiers):
        return [_IDENTIFIER] if _IDENTIFIER in changed else []
    if unknown := [key for key in _WHICH_CLUSTER if new.get(key) is UNKNOWN]:
        return unknown
    before, after = _active_cluster(old), _active_cluster(new)
    if before is None or after is None or before == after:
        return []
    return [key for key in _WHICH_CLUSTER if key in changed]


def _active_cluster(config: Object) -> Mapping[str, Any] | None:
    """The cluster record in use, as far as the configuration itself tells; the environment's may be another by now."""
    told = config.get("kubeconfig")
    text = json.dumps(told) if isinstance(told, dict) else str(told or "")
    if not text:
        return None
    try:
        parsed = kubeconfig.parse(text)
    except KubeconfigError:
        return None
    return parsed.active_cluster(str(config.get("context") or ""), str(config.get("cluster") or ""))
