"""Asks a service through the API server's service proxy, which needs nothing but a kubeconfig."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from components.health import REQUEST_TIMEOUT_SECONDS, Answer, Ask

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


def service_proxy(context: str | None, namespace: str, port_name: str) -> Callable[[], Ask]:
    """A function that connects and returns an `Ask`; nothing is read or imported before it is called.

    https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
    """

    def connect() -> Ask:
        from kubernetes import config  # noqa: PLC0415 (a preview needs none of it)

        client = config.new_client_from_config(context=context)  # type: ignore[no-untyped-call]
        return lambda service, path: _get(
            client, f"/api/v1/namespaces/{namespace}/services/{service}:{port_name}", path
        )

    return connect


def _get(client: ApiClient, service_url: str, path: str) -> Answer:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

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
