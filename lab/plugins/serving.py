"""Shared by the fallback plugins: the gRPC server that the engine calls, errors it can show, and a clean exit."""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import stat
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc

THREADS = 32
UNLIMITED_MESSAGES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class PluginError(Exception):
    """A failure the engine shows to the user: `message` and the gRPC `code`.

    Raise this from a servicer method instead of calling `context.abort`.
    """

    def __init__(self, message: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(message)
        self.code = code


def spare_the_sdk() -> None:
    """Allow imports of `pulumi.runtime.proto` without the rest of the SDK, which halves a plugin's start time.

    Call it from `main()`, before anything imports `pulumi`; if the SDK is loaded already it does nothing.
    """
    spec = importlib.util.find_spec("pulumi")
    if "pulumi" in sys.modules or spec is None or not spec.submodule_search_locations:
        return
    folder = spec.submodule_search_locations[0]
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        package = types.ModuleType(name)
        package.__path__ = [folder + name.removeprefix("pulumi").replace(".", "/")]
        package.__spec__ = spec if name == "pulumi" else None
        sys.modules[name] = package


def serve(register: Callable[[grpc.Server], None], *, on_stop: Callable[[], None] = lambda: None) -> NoReturn:
    """Serve on a free loopback port, print it for the engine, and end when interrupted or when the engine is gone.

    `on_stop` has a few seconds (the engine kills after five). Never returns: the process exits with 0, without the
    interpreter's teardown, because the engine waits for it.
    """
    # SIGINT and SIGTERM become bytes on a pipe.
    wake, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _server, port = listen(register)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    watched = [wake]
    # The engine holds the other end of our stdin: it closes when the engine is gone.
    if sys.stdin is not None and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        watched.append(sys.stdin.fileno())
    while True:
        ready, _, _ = select.select(watched, [], [])
        if wake in ready or not os.read(ready[0], 65536):
            break
    on_stop()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def listen(register: Callable[[grpc.Server], None]) -> tuple[grpc.Server, int]:
    """A started server, which answers as long as it is referenced, and its free loopback port."""
    server = grpc.server(ThreadPoolExecutor(THREADS), interceptors=[_Errors()], options=UNLIMITED_MESSAGES)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


class _Errors(grpc.ServerInterceptor):
    """Turns a servicer's exception into a gRPC status, so that no traceback of ours reaches the user's screen."""

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_answering(handler.unary_unary), **codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_streaming(handler.unary_stream), **codec)
        return handler


def _answering(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(request, context)
        except Exception as error:  # noqa: BLE001 -- the process boundary: everything becomes a status
            _abort(context, error)

    return answer


def _streaming(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(request, context)
        except Exception as error:  # noqa: BLE001 -- the process boundary: everything becomes a status
            _abort(context, error)

    return stream


def _abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    if isinstance(error, PluginError):
        context.abort(error.code, str(error))
    if isinstance(error, NotImplementedError):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
    traceback.print_exception(error)  # a provider's stderr is shown with `pulumi -v=9 --logtostderr` only
    context.abort(grpc.StatusCode.INTERNAL, f"the fallback plugin failed: {type(error).__name__}: {error}")
