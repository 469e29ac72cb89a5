"""The cluster a configured provider works on: a client, discovery and watches, or the reason why there is none."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lab.plugins.kubernetes.client import ApiError, Client, UnreachableError
from lab.plugins.kubernetes.discovery import Discovery
from lab.plugins.kubernetes.kubeconfig import Connection, KubeconfigError, connect
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.kubernetes.values import Object, text_at
from lab.plugins.kubernetes.watch import Watches
from lab.plugins.serving import PluginError

# A server that is not there is asked once more only: the user is waiting for the news.
_FIRST_PAUSES = (0.3,)
_OLDEST_MINOR = 22


@dataclass(frozen=True)
class Reached:
    """A cluster that answered."""

    client: Client
    discovery: Discovery
    watches: Watches


class Cluster:
    """Connects at the first use, once; every later caller gets the same cluster or the same reason.

    A kubeconfig that names no cluster raises `KubeconfigError`, unless unreachable clusters are to be put up with.
    """

    def __init__(self, settings: Settings, cancelled: threading.Event) -> None:
        self._settings = settings
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._reached: Reached | None = None
        self._problem = ""
        self._was_told = False
        self._connection: Connection | None = None
        try:
            self._connection = connect(settings.kubeconfig, settings.overrides)
        except KubeconfigError as error:
            self._problem = f"unable to load Kubernetes client configuration: {error}"
            if not (settings.delete_unreachable or settings.skip_update_unreachable):
                raise

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
            if not self._is_first_told():  # once is enough, however many resources there are
                raise PluginError("configured Kubernetes cluster is unreachable, as said above") from error
            raise PluginError(
                f"configured Kubernetes cluster is unreachable: {error}\n"
                "Check that the cluster runs and that the provider's kubeconfig, or KUBECONFIG, and its context are "
                "the ones you mean."
            ) from error

    def _is_first_told(self) -> bool:
        with self._lock:
            told, self._was_told = self._was_told, True
        return not told

    def wake_all(self) -> None:
        """Wake everything that waits, if anything does; never starts a connection."""
        if (reached := self._reached) is not None:
            reached.watches.wake_all()

    def _try(self) -> None:
        if self._connection is None:
            return
        client = Client(self._connection, self._settings.client, self._cancelled)
        context = f" (context {self._connection.context!r})" if self._connection.context else ""
        try:
            version = client.send("GET", "/version", pauses=_FIRST_PAUSES).body
        except UnreachableError as error:
            self._problem = f"{error}{context}"
        except ApiError as error:
            if error.status != 403:  # who may not ask for the version may still be allowed what it came for
                refusal = "the API server refuses the credentials: " if error.status == 401 else ""
                self._problem = f"{self._connection.cluster.server}: {refusal}{error}{context}"
            else:
                self._use(client)
        else:
            _refuse_old(version)
            self._use(client)

    def _use(self, client: Client) -> None:
        self._reached = Reached(client, Discovery(client), Watches(client))


def _refuse_old(version: Object) -> None:
    major, minor = text_at(version, "major"), text_at(version, "minor").rstrip("+")
    if major == "1" and minor.isdigit() and int(minor) < _OLDEST_MINOR:
        raise PluginError(
            f"server-side apply needs Kubernetes 1.{_OLDEST_MINOR} or newer; this cluster has {major}.{minor}"
        )
