"""The cluster a configured provider works on: a client, discovery and watches, or the reason why there is none."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lab.plugins.kubernetes.client import ApiError, Client, UnreachableError
from lab.plugins.kubernetes.discovery import Discovery
from lab.plugins.kubernetes.kubeconfig import Connection, KubeconfigError, connect
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.kubernetes.values import text_at
from lab.plugins.kubernetes.watch import Watches
from lab.plugins.serving import PluginError


@dataclass(frozen=True)
class Reached:
    """A cluster that answered."""

    client: Client
    discovery: Discovery
    watches: Watches


class Cluster:
    """Connects at the first use, once; every later caller gets the same cluster or the same reason."""

    def __init__(self, settings: Settings, cancelled: threading.Event) -> None:
        self._settings = settings
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._reached: Reached | None = None
        self._problem = ""
        self._connection: Connection | None = None
        try:
            self._connection = connect(settings.kubeconfig, settings.overrides)
        except KubeconfigError as error:
            self._problem = f"unable to load Kubernetes client configuration: {error}"

    @property
    def default_namespace(self) -> str:
        """Where namespaced objects go that name no namespace: the provider's, else the context's, else `default`."""
        told = self._settings.overrides.namespace
        return told or (self._connection.namespace if self._connection else "") or "default"

    def reach(self) -> Reached:
        """The cluster; raises `UnreachableError` with the reason, at once if it was not reachable before."""
        with self._lock:
            if self._reached is None and not self._problem:
                self._try()
            if self._reached is None:
                raise UnreachableError(self._problem)
            return self._reached

    def demand(self) -> Reached:
        """The cluster, or the official plugin's error as the user sees it."""
        try:
            return self.reach()
        except UnreachableError as error:
            raise PluginError(
                f"configured Kubernetes cluster is unreachable: {error}\n"
                "Check that the cluster runs and that the provider's kubeconfig, or KUBECONFIG, and its context are "
                "the ones you mean."
            ) from error

    def wake_all(self) -> None:
        """Wake everything that waits, if anything does; never starts a connection."""
        if (reached := self._reached) is not None:
            reached.watches.wake_all()

    def _try(self) -> None:
        if self._connection is None:
            return
        try:
            client = Client(self._connection, self._settings.client, self._cancelled)
            version = client.get("/version")
        except (UnreachableError, KubeconfigError) as error:
            self._problem = f"{error}{self._whereabouts()}"
        except ApiError as error:
            if error.status in (401, 403):
                hint = "the API server refuses the credentials" if error.status == 401 else "access is forbidden"
                self._problem = f"{hint}: {error}{self._whereabouts()}"
            else:
                self._problem = f"{error}{self._whereabouts()}"
        else:
            self._refuse_old(version)
            self._reached = Reached(client, Discovery(client), Watches(client))

    def _refuse_old(self, version: dict[str, object]) -> None:
        major, minor = text_at(version, "major"), text_at(version, "minor").rstrip("+")
        if major == "1" and minor.isdigit() and int(minor) < 22:
            raise PluginError(f"server-side apply needs Kubernetes 1.22 or newer; this cluster has {major}.{minor}")

    def _whereabouts(self) -> str:
        connection = self._connection
        if connection is None:
            return ""
        context = f", context {connection.context!r}" if connection.context else ""
        return f" (server {connection.cluster.server}{context})"
