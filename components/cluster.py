"""Speaks to the cluster outside the provider: is its kubeconfig usable, and what do services answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from components.health import REQUEST_TIMEOUT_SECONDS, Answer, Ask

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

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


def service_proxy(context: str | None, namespace: str, port_name: str) -> Callable[[], Ask]:
    """A function that connects and returns an `Ask`; nothing is read or imported before it is called.

    https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
    """

    def connect() -> Ask:
        from kubernetes import config

        client = config.new_client_from_config(context=context)  # type: ignore[no-untyped-call]
        return lambda service, path: _get(
            client, f"/api/v1/namespaces/{namespace}/services/{service}:{port_name}", path
        )

    return connect


def _get(client: ApiClient, service_url: str, path: str) -> Answer:
    from urllib3.exceptions import HTTPError

    asked = urlsplit(path)
    request = client.param_serialize(
        method="GET",
        resource_path=f"{service_url}/proxy{asked.path}",
        query_params=parse_qsl(asked.query, keep_blank_values=True),
        header_params={"Accept": "*/*"},
        auth_settings=["BearerToken"],
    )
    try:
        response = client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_SECONDS)
        body: bytes = response.read()  # type: ignore[no-untyped-call]
        return Answer(response.status, body.decode(errors="replace"))
    except (HTTPError, OSError) as error:
        return Answer(None, str(error))
