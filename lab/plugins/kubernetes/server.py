"""The gRPC service: each of the engine's calls goes to the module named after it."""

# ruff: noqa: N802 -- the methods are named by the service

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from lab.plugins.kubernetes import (
    OFFICIAL_PLUGIN,
    VERSION,
    checking,
    configuring,
    creating,
    deleting,
    diffing,
    reading,
    updating,
)
from lab.plugins.kubernetes.cluster import Cluster
from lab.plugins.kubernetes.configured import Configured
from lab.plugins.kubernetes.engine import Engine
from lab.plugins.kubernetes.kubeconfig import KubeconfigError
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.serving import PluginError, serve

# Every operation that waits holds a thread; they are started only when needed.
_THREADS = 512
# The engine kills a plugin five seconds after asking it to end.
_DRAIN_SECONDS = 3.0
# What the last answer takes to leave the process.
_ANSWER_SECONDS = 0.2


class Operations:
    """Counts the operations that change the cluster while they run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0

    def __enter__(self) -> None:
        with self._changed:
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait_until_idle(self, seconds: float) -> None:
        with self._changed:
            if self._running and self._changed.wait_for(lambda: self._running == 0, seconds):
                time.sleep(_ANSWER_SECONDS)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The resource provider `kubernetes`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cancelled = threading.Event()
        self._ready: Configured | None = None
        self._operations = Operations()

    def GetPluginInfo(self, _request: Empty, _context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, _request: provider_pb2.GetSchemaRequest, _context: Any) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "kubernetes", "version": VERSION}))

    def Attach(self, request: plugin_pb2.PluginAttach, _context: Any) -> Empty:
        self._engine.attach(request.address)
        return Empty()

    def CheckConfig(self, request: provider_pb2.CheckRequest, _context: Any) -> provider_pb2.CheckResponse:
        return configuring.check_config(request)

    def DiffConfig(self, request: provider_pb2.DiffRequest, _context: Any) -> provider_pb2.DiffResponse:
        return configuring.diff_config(request)

    def Configure(self, request: provider_pb2.ConfigureRequest, _context: Any) -> provider_pb2.ConfigureResponse:
        settings = Settings.of(dict(request.variables))
        try:
            cluster = Cluster(settings, self._cancelled)
        except KubeconfigError as error:
            raise PluginError(f"unable to load Kubernetes client configuration: {error}") from error
        self._ready = Configured(settings, cluster, self._engine, self._cancelled)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Check(self, request: provider_pb2.CheckRequest, _context: Any) -> provider_pb2.CheckResponse:
        return checking.check(self._configured(), request)

    def Diff(self, request: provider_pb2.DiffRequest, _context: Any) -> provider_pb2.DiffResponse:
        return diffing.diff(self._configured(), request)

    def Create(self, request: provider_pb2.CreateRequest, _context: Any) -> provider_pb2.CreateResponse:
        with self._operations:
            return creating.create(self._configured(), request)

    def Read(self, request: provider_pb2.ReadRequest, _context: Any) -> provider_pb2.ReadResponse:
        return reading.read(self._configured(), request)

    def Update(self, request: provider_pb2.UpdateRequest, _context: Any) -> provider_pb2.UpdateResponse:
        with self._operations:
            return updating.update(self._configured(), request)

    def Delete(self, request: provider_pb2.DeleteRequest, _context: Any) -> Empty:
        with self._operations:
            deleting.delete(self._configured(), request)
        return Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, _context: Any) -> provider_pb2.InvokeResponse:
        from lab.plugins.kubernetes import invoking  # noqa: PLC0415 -- rarely needed

        return invoking.invoke(self._configured(), request)

    def Construct(self, request: provider_pb2.ConstructRequest, _context: Any) -> provider_pb2.ConstructResponse:
        raise PluginError(
            f"the component {request.type} is not supported by the fallback for {OFFICIAL_PLUGIN}; it needs the "
            "official plugin. Install it where its download is reachable: pulumi plugin install resource kubernetes"
        )

    def Cancel(self, _request: Empty, _context: Any) -> Empty:
        self.cancel()
        return Empty()

    def cancel(self) -> None:
        """End every wait; what was created is recorded as not ready."""
        self._cancelled.set()
        if self._ready is not None:
            self._ready.cluster.wake_all()

    def stop(self) -> None:
        """Cancel, and give running operations the time to tell the engine what they have done."""
        self.cancel()
        self._operations.wait_until_idle(_DRAIN_SECONDS)

    def _configured(self) -> Configured:
        if self._ready is None:
            raise PluginError("the provider was not configured", grpc.StatusCode.FAILED_PRECONDITION)
        return self._ready


def run() -> NoReturn:
    """Serve until the engine goes away."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    provider = Provider(Engine(arguments[-1] if arguments else ""))
    serve(
        lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server),
        threads=_THREADS,
        on_stop=provider.stop,
    )
