"""Stands between the engine and a policy pack, which cannot start before the engine has said for which stack.

Pulumi's own host does the same: `ConfigureStack` is answered here, everything else is passed on as it came.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import grpc
from pulumi.runtime.proto import analyzer_pb2

from lab.plugins.serving import UNLIMITED_MESSAGES

CONFIGURE_STACK = "/pulumirpc.Analyzer/ConfigureStack"
Call: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"
HANDSHAKE = "/pulumirpc.Analyzer/Handshake"


class PolicyProxy(grpc.GenericRpcHandler):
    """Serves one policy pack's `Analyzer` on `port`."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._configuration: bytes | None = None
        self._pack: Future[grpc.Channel] = Future()
        self._server = grpc.server(ThreadPoolExecutor(16), handlers=[self], options=UNLIMITED_MESSAGES)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """Let go of whoever waits for the pack or its configuration."""
        self._asked.set()
        self._server.stop(grace=None)

    def wait_for_configuration(self) -> analyzer_pb2.AnalyzerStackConfigureRequest | None:
        """The stack to check, None for a pack that is asked about itself only (`pulumi policy publish`)."""
        self._asked.wait()
        if self._configuration is None:
            return None
        return analyzer_pb2.AnalyzerStackConfigureRequest.FromString(self._configuration)

    def attach(self, port_line: bytes) -> None:
        """Pass calls on to the pack that printed this line; an empty one means that it ended without serving."""
        if not port_line.strip().isdigit():
            self._pack.set_exception(RuntimeError("the policy pack ended before it was ready; see its output"))
            return
        channel = grpc.insecure_channel(f"127.0.0.1:{int(port_line)}", options=UNLIMITED_MESSAGES)
        if self._configuration is not None:
            self._configure(channel, self._configuration)
        self._pack.set_result(channel)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Handlers without serializers: messages pass through as bytes."""
        answer: Callable[[bytes, grpc.ServicerContext], bytes]
        if handler_call_details.method == HANDSHAKE:
            answer = _nothing
        elif handler_call_details.method == CONFIGURE_STACK:
            answer = self._keep_configuration
        else:
            answer = self._passing_on(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(answer)

    def _keep_configuration(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        self._configuration = request
        self._asked.set()
        return b""

    def _passing_on(self, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self._asked.set()
            try:
                call: Call = self._pack.result().unary_unary(method)
                return call(request)
            except RuntimeError as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")

        return answer

    @staticmethod
    def _configure(channel: grpc.Channel, configuration: bytes) -> None:
        """Older packs do not know the call."""
        with contextlib.suppress(grpc.RpcError):
            call: Call = channel.unary_unary(CONFIGURE_STACK)
            call(configuration)


def _nothing(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return b""
