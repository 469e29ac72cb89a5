"""In a rollback, what the program declares besides the record is not sent to the engine: the record has it already, or
it is to go.
"""

from __future__ import annotations

import copy
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
    """Register a stack transformation that recorded resources go through too, unlike those of the program's own."""
    _transformations.append(transformation)
    pulumi.runtime.register_stack_transformation(transformation)


class RecordedOnly:
    """From its making on, the engine is sent nothing but what is declared within `declaring()`, and the stack itself.

    Everything else that the program declares, in `__main__.py` or in a component of its own, before or after, ends
    here: all its outputs are unknown, as in a preview, so that no `apply` of it runs. Otherwise the engine would be
    sent the URN of a recorded object twice, and refuse; and what the record does not have would be made.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Any] = {}
        monitor = SETTINGS.monitor
        self._engine: Any = copy.copy(monitor)
        # In place: what was declared before has this very object, and sends its request when the module has ended.
        for name in ("RegisterResource", "ReadResource", "RegisterResourceOutputs", "RegisterStackTransform"):
            setattr(monitor, name, getattr(self, f"_{name}"))

    @contextmanager
    def declaring(self) -> Iterator[None]:
        """While this lasts, what is declared is sent to the engine, untouched by the program's own transformations."""
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
        """Take the outputs of what the program only reads from `state`, decrypted."""
        external = (each for each in resources(state) if each.raw.get("external"))
        self._read |= {(each.type, each.name): opened(each.outputs) for each in external}

    def _RegisterResource(self, request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802 (the protocol's, as below)
        if request.type == STACK_TYPE:
            return self._engine.RegisterResource(request)
        outputs = struct_pb2.Struct()
        # Of a remote component the SDK takes no output for unknown that is not named; a Chart has this one.
        more = [REMOTE_OUTPUT] if request.remote else []
        outputs.update(dict.fromkeys([*request.object, *more], rpc.UNKNOWN))
        return resource_pb2.RegisterResourceResponse(urn=_urn(request), object=outputs, unknown=True)

    def _ReadResource(self, request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802
        """What is read has no unknown outputs outside of a preview: it is as it was when it was last read."""
        outputs = struct_pb2.Struct()
        outputs.update(self._read.get((request.type, request.name), {}))
        return resource_pb2.ReadResourceResponse(urn=_urn(request), properties=outputs)

    def _RegisterResourceOutputs(self, request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802
        return (
            empty_pb2.Empty() if request.urn.endswith(NOT_DECLARED) else self._engine.RegisterResourceOutputs(request)
        )

    def _RegisterStackTransform(self, _request: Any, *_: Any, **__: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()  # a transform would change what is recorded


def _urn(request: Any) -> str:
    """No URN that the engine knows, by which the outputs of a component of the program's own are known again."""
    stack, project = SETTINGS.stack, SETTINGS.project
    return f"urn:pulumi:{stack}::{project}::{request.type}::{request.name}{NOT_DECLARED}"


class _Exports(dict[str, Any]):
    """Stack outputs that stay as they are."""

    def __setitem__(self, name: str, value: Any) -> None:
        """Drop what the program exports besides."""


def export_recorded(outputs: Mapping[str, Any]) -> None:
    """Make `outputs` those of the stack; what the program exports afterwards is dropped."""
    if root := get_root_resource():
        root.outputs = _Exports(outputs)  # type: ignore[attr-defined]  # it is a Stack


def declare_nothing() -> None:
    """Send the engine nothing of what the program has declared or will declare: it ends with an error of its own.

    To end with it alone would be too late: the SDK sends what was declared before a program failed.
    """
    RecordedOnly()
    export_recorded({})
