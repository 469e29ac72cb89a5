"""Speaks to the cluster outside the provider: is its kubeconfig usable, and which cluster is it."""

from __future__ import annotations

import os
from pathlib import Path

from slipway.checks import REQUEST_TIMEOUT_SECONDS

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


def cluster_id(context: str | None) -> str:
    """The uid of namespace kube-system, which no two clusters share; empty where it may not be read."""
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    try:
        api = client.CoreV1Api(config.new_client_from_config(context=context))  # type: ignore[no-untyped-call]
        found = api.read_namespace("kube-system", _request_timeout=REQUEST_TIMEOUT_SECONDS)
    except (client.ApiException, HTTPError, OSError, config.ConfigException):
        return ""
    return str(found.metadata.uid) if found.metadata else ""
