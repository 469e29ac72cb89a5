"""How the program runs on Pulumi's SDK: what it sends to the engine, in a rollback only what is recorded; what it waits
for and runs in threads; and how it ends.
"""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import pulumi
from google.protobuf import empty_pb2, struct_pb2
from pulumi import Output
from pulumi.runtime import resource, rpc
from pulumi.runtime.proto import resource_pb2, source_pb2
from pulumi.runtime.settings import SETTINGS, get_root_resource

from slipway.engine.events import STACK_TYPE
from slipway.errors import is_debugging
from slipway.state.checkpoint import Snapshot, resources
from slipway.values import opened

# The exit code that tells Pulumi's Python language host that the error is already reported.
# https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/cmd/pulumi-language-python-exec
ALREADY_REPORTED = 32
INTERRUPT_SECONDS = 1.0  # the interrupt came after 0.04 s at most, on two busy cores

P = ParamSpec("P")
Value = TypeVar("Value")
NOT_DECLARED = "(not declared in a rollback)"
REMOTE_OUTPUT = "resources"

_transformations: list[pulumi.ResourceTransformation] = []


def exit_silently_when_cancelled() -> None:
    """End silently on SIGINT: otherwise the program prints a traceback for each interrupt of the language host."""
    signal.signal(signal.SIGINT, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(RuntimeError, OSError):  # the stream was being written, or its reader is gone
            stream.flush()
    os._exit(ALREADY_REPORTED)


async def silent_when_cancelled(invoked: Awaitable[Value]) -> Value:
    """The result of an invoke. If it fails, raises RunError with the reason; silent if the engine cancelled it.

    When a resource fails, the engine first closes its connections to the providers, then interrupts the program. An
    invoke that is under way would end the program with a traceback in addition to the failure.
    """
    try:
        return await invoked
    except Exception as error:  # the SDK raises no narrower one
        await asyncio.sleep(INTERRUPT_SECONDS)
        raise pulumi.RunError(str(error)) from error


_THREADS = ThreadPoolExecutor(16, "slipway")


async def in_thread(function: Callable[P, Value], *args: P.args, **kwargs: P.kwargs) -> Value:
    """Like `asyncio.to_thread`, in threads of our own.

    The SDK waits in the event loop's threads until the engine has registered resources. With many resources it uses all
    of them, while the engine waits for the result of a hook or a rollout.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))


# Of the classes Resource, CustomResource or ComponentResource, and of the resource's own class.
CONSTRUCTORS = 3


def drop_debug_details() -> None:
    """Send none of them to the engine, unless `SLIPWAY_DEBUG` is set: then `pulumi up --debug` shows the messages.

    Each message is a call that the program waits for, and the engine passes all of them on to readers of its events.
    The stack traces of all resources are a third of the state, which the engine writes before and after each step, and
    they name folders of this machine. Only the frame that is recorded as the source position stays.
    """
    if not is_debugging():
        pulumi.log.debug = _drop
        resource._get_stack_trace = _declaring_frame


def _drop(*_message: object, **_more: object) -> None:
    pass


def _declaring_frame() -> source_pb2.StackTrace:
    """Only the frame that calls the constructor of a resource; the SDK's own function has all below it too."""
    frame: FrameType | None = sys._getframe(1)
    seen = 0
    while frame is not None and seen < CONSTRUCTORS:
        seen += frame.f_code.co_name == "__init__"
        frame = frame.f_back
    if frame is None:
        return source_pb2.StackTrace()
    uri = Path(frame.f_code.co_filename).absolute().as_uri()
    position = source_pb2.SourcePosition(uri=uri, line=frame.f_lineno)
    return source_pb2.StackTrace(frames=[source_pb2.StackFrame(pc=position)])


def wait_at_once() -> None:
    """Give the SDK one task to wait for, instead of the outputs that the program has so far: call it at the end.

    Whenever one of them is known, the SDK begins to wait for all others again: 500 times for up to 7,000 of them in an
    update of 50 services. https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/python/lib/pulumi/runtime/stack.py
    (wait_for_rpcs)
    """
    SETTINGS.outputs.add(asyncio.ensure_future(_all_known(_take())))


async def _all_known(outputs: set[asyncio.Task[Any]]) -> None:
    """Return when no output is outstanding, or when one has failed: the SDK then finds it, and ends the program."""
    left: set[asyncio.Task[Any]] = set()
    while outputs and not left:
        await asyncio.wait(outputs, return_when=asyncio.FIRST_EXCEPTION)
        left = {each for each in outputs if not each.done() or each.cancelled() or each.exception()}
        outputs = _take()
    with SETTINGS.lock:
        SETTINGS.outputs |= left | outputs


def _take() -> set[asyncio.Task[Any]]:
    """All outputs that the SDK would wait for, but this task."""
    with SETTINGS.lock:
        taken = {each for each in SETTINGS.outputs if each is not asyncio.current_task()}
        SETTINGS.outputs -= taken
    return taken


def after(value: Output[Value], others: Iterable[Output[Any]]) -> Output[Value]:
    """`value`, held back until all `others` are resolved.

    Unlike `depends_on` it leaves no dependency in the state: with n services that would be n² of them.
    """
    waited_for = [other.future() for other in others]
    return held_back(value, lambda: asyncio.gather(*waited_for))


def held_back(value: Output[Value], wait: Callable[[], Awaitable[Any]]) -> Output[Value]:
    """`value`, held back until the result of `wait` is done; it leaves no dependency in the state either."""

    async def waited() -> Value:
        await wait()
        return await value.future()  # type: ignore[return-value]

    started = asyncio.ensure_future
    return Output(value.resources(), started(waited()), started(value.is_known()), started(value.is_secret()))


def unknown() -> Output[Any]:
    """An unknown output in a preview, for a value that only the update knows."""

    async def value(of: Any) -> Any:
        return of

    started = asyncio.ensure_future
    return Output(set(), started(value(None)), started(value(False)))


def register_transformation(transformation: pulumi.ResourceTransformation) -> None:
    """Register a stack transformation that applies to recorded resources too, unlike the program's own."""
    _transformations.append(transformation)
    pulumi.runtime.register_stack_transformation(transformation)


class RecordedOnly:
    """Once it exists, the engine gets only the stack itself and the resources declared within `declaring()`.

    Everything else that the program declares, in `__main__.py` or in its own components, before or after, ends here:
    all its outputs are unknown, as in a preview, so that none of its `apply` functions runs. Otherwise the engine would
    get the URN of a recorded object twice, and refuse. It would also create resources that the record does not have.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Any] = {}
        monitor = SETTINGS.monitor
        self._stack, self._project = SETTINGS.stack, SETTINGS.project  # not set in the threads that send
        self._engine: Any = copy.copy(monitor)
        # In place: resources declared before hold this very object, and send their requests when the module has ended.
        for name in ("RegisterResource", "ReadResource", "RegisterResourceOutputs", "RegisterStackTransform"):
            setattr(monitor, name, getattr(self, f"_{name}"))

    @contextmanager
    def declaring(self) -> Iterator[None]:
        """Within this block, resources are sent to the engine, without the program's own transformations."""
        monitor, root = SETTINGS.monitor, get_root_resource()
        transformations = root._transformations if root else []
        SETTINGS.monitor = self._engine
        if root:
            root._transformations = [each for each in transformations if each in _transformations]
        try:
            yield
        finally:
            SETTINGS.monitor = monitor
            if root:
                registered = [each for each in root._transformations if each not in transformations]
                root._transformations = transformations + registered

    def remember_read(self, state: Snapshot) -> None:
        """Keep the outputs, decrypted, of the resources in `state` that the program only reads."""
        external = (each for each in resources(state) if each.raw.get("external"))
        self._read |= {(each.type, each.name): opened(each.outputs) for each in external}

    def _urn(self, request: Any) -> str:
        """A URN that the engine does not know; its ending identifies the outputs of the program's own components."""
        return f"urn:pulumi:{self._stack}::{self._project}::{request.type}::{request.name}{NOT_DECLARED}"

    def _RegisterResource(self, request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802 (the protocol's, as below)
        if request.type == STACK_TYPE:
            return self._engine.RegisterResource(request)
        outputs = struct_pb2.Struct()
        # For a remote component the SDK only treats named outputs as unknown; a Chart has this one.
        more = [REMOTE_OUTPUT] if request.remote else []
        outputs.update(dict.fromkeys([*request.object, *more], rpc.UNKNOWN))
        return resource_pb2.RegisterResourceResponse(urn=self._urn(request), object=outputs, unknown=True)

    def _ReadResource(self, request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802
        """Outside a preview a read resource cannot have unknown outputs: it gets those of its last read."""
        outputs = struct_pb2.Struct()
        outputs.update(self._read.get((request.type, request.name), {}))
        return resource_pb2.ReadResourceResponse(urn=self._urn(request), properties=outputs)

    def _RegisterResourceOutputs(self, request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802
        return (
            empty_pb2.Empty() if request.urn.endswith(NOT_DECLARED) else self._engine.RegisterResourceOutputs(request)
        )

    def _RegisterStackTransform(self, _request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()  # a transform would change recorded resources


class _Exports(dict[str, Any]):
    """Stack outputs that stay as they are."""

    def __setitem__(self, name: str, value: Any) -> None:
        """Drop every other export of the program."""


def export_recorded(outputs: Mapping[str, Any]) -> None:
    """Set `outputs` as the stack's outputs; later exports of the program are dropped."""
    if root := get_root_resource():
        root.outputs = _Exports(outputs)  # type: ignore[attr-defined]  # it is a Stack


def declare_nothing() -> None:
    """Drop everything that the program has declared so far, so that the error with which it ends is the only one.

    Raising the error is not enough: before the SDK reports it, it sends the declared resources, and runs each `apply`.
    """
    RecordedOnly()  # for requests that are already on their way
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)  # as intended
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()
    if root := get_root_resource():
        root._outputs_registered = True  # type: ignore[attr-defined]  # or it would wait for its own registration
