"""Messages to the user through the engine: lines that stay, and the status beside a resource that is still changing."""

from __future__ import annotations

import threading
from typing import Any

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

INFO, WARNING = engine_pb2.INFO, engine_pb2.WARNING
_SEND_SECONDS = 5.0


class Engine:
    """The engine's log; without an address messages go nowhere, as in tests."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._stub: Any = None
        self._said: set[tuple[str, str]] = set()
        self._sending: set[grpc.Future[Any]] = set()

    def attach(self, address: str) -> None:
        """Log to this engine from now on."""
        with self._lock:
            self._address, self._stub = address, None

    def warn(self, urn: str, message: str) -> None:
        """Show a warning that stays, once."""
        with self._lock:
            if (urn, message) in self._said:
                return
            self._said.add((urn, message))
        self._log(urn, message, WARNING, ephemeral=False)

    def info(self, urn: str, message: str) -> None:
        """Show a line that stays."""
        self._log(urn, message, INFO, ephemeral=False)

    def status(self, urn: str, message: str, severity: int = INFO) -> None:
        """Show what the resource waits for now; an empty message clears it."""
        self._log(urn, message, severity, ephemeral=True)

    def _log(self, urn: str, message: str, severity: int, *, ephemeral: bool) -> None:
        stub = self._connected()
        if stub is None:
            return
        request = engine_pb2.LogRequest(
            severity=severity,  # type: ignore[arg-type]
            message=message,
            urn=urn,
            ephemeral=ephemeral,
        )
        sent = stub.Log.future(request, timeout=_SEND_SECONDS)
        self._sending.add(sent)  # a call that nobody holds is cancelled
        sent.add_done_callback(self._sending.discard)
        if not ephemeral:  # what stays on the screen must be there before the engine may go away
            sent.exception()

    def _connected(self) -> Any:
        with self._lock:
            if self._stub is None and self._address:
                self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._address))
            return self._stub
