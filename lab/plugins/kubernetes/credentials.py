"""The headers and the client certificate a request carries, renewed when they end."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from urllib3 import HTTPHeaderDict

from lab.plugins.kubernetes.kubeconfig import Connection, ExecPlugin, KubeconfigError

_TOKEN_FILE_SECONDS = 60.0
_EXEC_TIMEOUT_SECONDS = 60.0
_EXPIRY_MARGIN_SECONDS = 30.0


@dataclass(frozen=True)
class Credential:
    """What one look at the user's record gave; `expires_at` is in seconds since the epoch."""

    token: str = ""
    client_certificate: bytes = b""
    client_key: bytes = b""
    expires_at: float = float("inf")


class Credentials:
    """Keeps the current credential of a connection; safe for many threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._current: Credential | None = None

    def current(self) -> Credential:
        """The credential to use now; raises `KubeconfigError` where it cannot be had."""
        with self._lock:
            if self._current is None or self._current.expires_at < time.time():
                self._current = _obtain(self._connection)
            return self._current

    def forget(self) -> bool:
        """After a 401: whether asking again may give another credential."""
        user = self._connection.user
        with self._lock:
            self._current = None
        return bool(user.exec_plugin or user.token_file)

    def headers(self) -> HTTPHeaderDict:
        """The request headers that say who asks."""
        user, headers = self._connection.user, HTTPHeaderDict()
        if token := self.current().token:
            headers["Authorization"] = f"Bearer {token}"
        elif user.username:
            pair = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        if user.impersonate:
            headers["Impersonate-User"] = user.impersonate
        for group in user.impersonate_groups:
            headers.add("Impersonate-Group", group)
        return headers


def _obtain(connection: Connection) -> Credential:
    user = connection.user
    if user.exec_plugin:
        return _run_plugin(user.exec_plugin, connection)
    token, expires_at = user.token, float("inf")
    if user.token_file:
        try:
            token = Path(user.token_file).read_text().strip()
        except OSError as error:
            raise KubeconfigError(f"the kubeconfig's tokenFile cannot be read: {error}") from error
        expires_at = time.time() + _TOKEN_FILE_SECONDS
    return Credential(token, user.client_certificate, user.client_key, expires_at)


def _run_plugin(plugin: ExecPlugin, connection: Connection) -> Credential:
    """Run an exec credential plugin (https://kubernetes.io/docs/reference/access-authn-authz/authentication)."""
    if shutil.which(plugin.command) is None:
        hint = f"\n{plugin.install_hint}" if plugin.install_hint else ""
        raise KubeconfigError(f"the kubeconfig's credential plugin {plugin.command!r} is not on PATH{hint}")
    environment = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(_exec_info(plugin, connection))}
    try:
        done = subprocess.run(
            [plugin.command, *plugin.args],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_EXEC_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KubeconfigError(f"the kubeconfig's credential plugin failed: {error}") from error
    if done.returncode:
        raise KubeconfigError(
            f"the kubeconfig's credential plugin {plugin.command!r} ended with exit code {done.returncode}: "
            f"{done.stderr.strip() or 'it printed no reason'}"
        )
    return _exec_credential(done.stdout, plugin)


def _exec_info(plugin: ExecPlugin, connection: Connection) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        cluster = connection.cluster
        spec["cluster"] = {
            "server": cluster.server,
            "certificate-authority-data": base64.b64encode(cluster.certificate_authority).decode(),
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        }
    return {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}


def _exec_credential(output: str, plugin: ExecPlugin) -> Credential:
    try:
        status = json.loads(output)["status"]
        expires = status.get("expirationTimestamp")
        return Credential(
            token=status.get("token") or "",
            client_certificate=(status.get("clientCertificateData") or "").encode(),
            client_key=(status.get("clientKeyData") or "").encode(),
            expires_at=datetime.fromisoformat(expires).timestamp() - _EXPIRY_MARGIN_SECONDS
            if expires
            else float("inf"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KubeconfigError(
            f"the kubeconfig's credential plugin {plugin.command!r} printed no ExecCredential with a status"
        ) from error
