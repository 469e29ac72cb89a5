"""Speaks to the cluster outside the provider: is its kubeconfig usable, and which cluster is it."""

from __future__ import annotations

import os
from pathlib import Path

from slipway.cluster.checks import missing_rights
from slipway.cluster.client import Cluster, ClusterError, ForbiddenError
from slipway.cluster.diagnosis.objects import text_at

# Imports of the client wait until they are needed: a fifth of a second that most previews can do without.
# ruff: noqa: PLC0415


def kubeconfig_problem(context: str | None) -> str:
    """Why no cluster can be reached with KUBECONFIG and `context`; empty when nothing is wrong with them."""
    files = [file for file in os.environ.get("KUBECONFIG", "").split(os.pathsep) if file]
    if files and not any(Path(file).is_file() for file in files):
        return f"KUBECONFIG names {', '.join(files)}, which does not exist; set it to a kubeconfig file"
    if context is None:
        return ""
    from kubernetes import config

    try:
        contexts, _ = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        return f"`slipway:context` is {context!r}, but there is no kubeconfig to find it in: {error}"
    names = [str(each["name"]) for each in contexts]
    if context in names:
        return ""
    return f"`slipway:context` is {context!r}, which the kubeconfig does not have; it has: {', '.join(names)}"


def checks_problem(context: str | None, namespace: str) -> str:
    """Why checks could not be asked at the end of an update, known before it begins; empty when nothing is wrong."""
    try:
        return missing_rights(Cluster.connect(context), namespace)
    except ForbiddenError:  # who may not ask what they may do finds out by doing it
        return ""
    except ClusterError as error:
        return str(error)


def cluster_id(context: str | None) -> str:
    """The uid of namespace kube-system, which no two clusters share; empty where it may not be read."""
    try:
        return text_at(Cluster.connect(context).read("/api/v1/namespaces/kube-system"), "metadata", "uid")
    except ClusterError:
        return ""
