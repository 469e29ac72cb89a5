"""Serves a policy pack's `Analyzer` before the pack runs, because the engine names the stack only in a call to it.

Runs in the pack's interpreter; the executor loads it by its path. Pulumi's own host puts a proxy between engine and
pack for the same purpose; in Python that would cost milliseconds for every resource.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc
from pulumi.runtime.proto import analyzer_pb2

SERVICE = "/pulumirpc.Analyzer/"
HANDSHAKE = f"{SERVICE}Handshake"
CONFIGURE_STACK = f"{SERVICE}ConfigureStack"
UNLIMITED_MESSAGES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
ANSWER_SECONDS = 2.0  # for the engine to get the message that the pack failed

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Answer: TypeAlias = Callable[[bytes, grpc.ServicerContext], bytes]


class PolicyServer(grpc.GenericRpcHandler):
    """The server that the engine calls at `port`, and that the pack gets when it asks gRPC for one."""

    def __init__(self) -> None:
        self._first_call = threading.Event()
        self._pack_serves = threading.Event()
        self._introduced = threading.Lock()
        self._is_open = False  # calls go straight to the pack
        self._failure = ""
        self._failure_sent = threading.Event()
        self._configuration: bytes | None = None
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self], options=UNLIMITED_MESSAGES)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stack_variables(self) -> dict[str, str]:
        """The environment variables that tell a pack its stack; waits until the engine has named it.

        Empty if the engine asks only about the pack itself, as for `pulumi policy publish`.
        """
        self._first_call.wait()
        if self._configuration is None:
            return {}
        stack = analyzer_pb2.AnalyzerStackConfigureRequest.FromString(self._configuration)
        variables = {
            "PULUMI_ORGANIZATION": stack.organization,
            "PULUMI_PROJECT": stack.project,
            "PULUMI_STACK": stack.stack,
            "PULUMI_DRY_RUN": str(stack.dry_run).lower(),
            "PULUMI_CONFIG": json.dumps(dict(stack.config)),
        }
        return {name: value for name, value in variables.items() if value}

    def offer_to_pack(self) -> None:
        """Make the next `grpc.server(…)` of this process, which is the pack's, return this server."""
        real = grpc.server

        def once(*_arguments: object, **_options: object) -> PolicyServer:
            grpc.server = real
            return self

        grpc.server = once  # type: ignore[assignment]

    def fail(self, why: str) -> None:
        """Answer the calls that wait for an ended pack with the reason; the engine may no longer read its output."""
        if not self._is_open:
            self._failure = f"the policy pack ended before it was ready: {why.strip() or 'see its output'}"
            self._first_call.set()
            self._pack_serves.set()
            self._failure_sent.wait(ANSWER_SECONDS)  # a stopping server refuses the call that gets the reason
        self._server.stop(ANSWER_SECONDS).wait()

    # The methods up to `stop` are the part of `grpc.Server` that a pack uses.

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: Mapping[str, Handler]) -> None:
        """Newer generated code registers its methods this way too; the generic handlers are enough."""

    def add_insecure_port(self, address: str) -> int:  # noqa: ARG002
        return self.port

    def start(self) -> None:
        self._pack_serves.set()

    def stop(self, grace: float | None) -> threading.Event:
        return self._server.stop(grace)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The pack's own handler once it serves, until then one that waits for it."""
        method = handler_call_details.method
        if self._is_open:
            return self._pack_handler(handler_call_details)
        if method == HANDSHAKE:
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
        if method == CONFIGURE_STACK:
            return grpc.unary_unary_rpc_method_handler(self._keep_configuration)
        return grpc.unary_unary_rpc_method_handler(self._when_pack_serves(handler_call_details))

    def _pack_handler(self, details: grpc.HandlerCallDetails) -> Handler | None:
        found = (handler.service(details) for handler in self._handlers)
        return next((handler for handler in found if handler is not None), None)

    def _keep_configuration(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        self._configuration = request
        self._first_call.set()
        return b""

    def _when_pack_serves(self, details: grpc.HandlerCallDetails) -> Answer:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self._first_call.set()
            self._pack_serves.wait()
            if self._failure:
                self._failure_sent.set()
                context.abort(grpc.StatusCode.UNAVAILABLE, self._failure)
            # Repeat the engine's earlier ConfigureStack call to the pack, once; older packs do not know it.
            with self._introduced:
                if not self._is_open and self._configuration is not None:
                    with contextlib.suppress(NotImplementedError):
                        self._call(_Details(CONFIGURE_STACK), self._configuration, context)
                self._is_open = True
            return self._call(details, request, context)

        return answer

    def _call(self, details: grpc.HandlerCallDetails, request: bytes, context: grpc.ServicerContext) -> bytes:
        handler: Any = self._pack_handler(details)
        if handler is None:
            raise NotImplementedError(details.method)
        answer = handler.unary_unary(handler.request_deserializer(request), context)
        return bytes(handler.response_serializer(answer))


class _Details(grpc.HandlerCallDetails):
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()
