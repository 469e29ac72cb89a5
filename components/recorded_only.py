"""In a rollback, the engine gets no resources that the program declares besides the record: the record has them
already, or they are to be deleted.
"""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pulumi
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import SETTINGS, get_root_resource

from slipway.engine.events import STACK_TYPE
from slipway.state.checkpoint import Snapshot, resources
from slipway.values import opened

NOT_DECLARED = "(not declared in a rollback)"
REMOTE_OUTPUT = "resources"

_transformations: list[pulumi.ResourceTransformation] = []


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
