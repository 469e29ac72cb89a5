"""Runs the program without an engine and collects what it declares: nothing is registered, built or changed."""

from __future__ import annotations

import contextlib
import logging
import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pulumi
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.mocks import MockMonitor, Mocks
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _ensure_event_loop, _sync_await

from policy.declaration import Options, Resource, plain, seconds
from policy.kinds import IMAGE, STACK_TYPE
from policy.program_check import declaring

# The answers of a build and a registry: any digest will do, because rules only check its form.
DIGEST = "sha256:" + "0" * 64
OUTPUTS: dict[str, dict[str, Any]] = {IMAGE: {"digest": DIGEST, "contextHash": "0" * 64}}
ANSWERS: dict[str, dict[str, Any]] = {
    "docker:index/getRegistryImage:getRegistryImage": {"id": DIGEST, "sha256Digest": DIGEST}
}


class NotInspectableError(RuntimeError):
    """The program does something whose outcome only the engine knows, so that it cannot be checked here."""


@dataclass(frozen=True)
class Program:
    """A program and its configuration, secret values included."""

    folder: Path
    project: str
    stack: str
    organization: str
    config: Mapping[str, str]
    secret_keys: tuple[str, ...] = ()


def resources_of(program: Program) -> list[Resource]:
    """Everything that `__main__.py` in the program's folder registers, in order.

    Raises what the program raises, and NotInspectableError. Changes the SDK's settings,
    which are global to the process.
    """

    def main() -> None:
        runpy.run_path(str(program.folder / "__main__.py"), run_name="__main__")

    folder = str(program.folder)
    sys.path.insert(0, folder)
    try:
        with contextlib.chdir(folder):
            return collect(program, main)
    finally:
        sys.path.remove(folder)


def collect(program: Program, main: Callable[[], None]) -> list[Resource]:
    """Everything that `main`, run as the program, registers; raises as above."""
    monitor = _Monitor(program)
    # The SDK makes a Stack, and with it futures, before it runs anything.
    _ensure_event_loop()  # type: ignore[no-untyped-call]
    pulumi.runtime.set_mocks(
        _Unused(),
        project=program.project,
        stack=program.stack,
        organization=program.organization,
        preview=True,  # the program waits for nothing and checks nothing
        monitor=monitor,
        logger=_Logger(monitor),
    )
    pulumi.runtime.set_all_config(dict(program.config), list(program.secret_keys))
    try:
        with declaring():
            _sync_await(run_pulumi_func(main))
    except Exception:
        monitor.refuse_if_blind()  # the cause of the error that the program raised
        raise
    monitor.refuse_if_blind()
    return monitor.resources_seen


class _Unused(Mocks):
    """Not called: the monitor answers itself."""

    def call(self, args: Any) -> NoReturn:
        raise NotImplementedError(args)

    def new_resource(self, args: Any) -> NoReturn:
        raise NotImplementedError(args)


class _Logger(logging.Logger):
    """Receives the program's messages: a logged error does not end a program, only the engine makes it a failure."""

    def __init__(self, monitor: _Monitor) -> None:
        super().__init__("program")
        self._monitor = monitor

    def error(self, msg: object, *_args: object, **_more: Any) -> None:
        self._monitor.cannot_see(f"the effect of the program's error: {msg}")


class _Monitor(MockMonitor):
    """Replaces the engine: keeps the registered resources, and answers with their inputs."""

    def __init__(self, program: Program) -> None:
        super().__init__(_Unused())
        self._program = program
        self.resources_seen: list[Resource] = []
        self._namespaces: dict[str, Any] = {}
        self._unseen: list[str] = []  # a list: copies of this monitor, as a rollback makes one, share it

    def refuse_if_blind(self) -> None:
        """Raises NotInspectableError if the program did something that cannot be seen from here."""
        if self._unseen:
            raise NotInspectableError(self._unseen[0])

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN as the engine makes it; the SDK's own way loses stack and project in threads."""
        within = f"{parent.split('::')[2]}$" if parent and not parent.split("::")[2].endswith(STACK_TYPE) else ""
        return f"urn:pulumi:{self._program.stack}::{self._program.project}::{within}{type_}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 -- the protocol's name, as below
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        if request.remote:
            self._refuse(f"the remote component {request.type} `{request.name}`")
        if request.transforms:
            self._refuse(f"transforms of {request.type} `{request.name}`")
        inputs = plain(json_format.MessageToDict(request.object))
        self._namespaces[urn] = inputs.get("namespace")
        options = Options(
            protect=bool(request.protect),
            create_timeout_seconds=seconds(request.customTimeouts.create),
            update_timeout_seconds=seconds(request.customTimeouts.update),
            dependencies=frozenset(request.dependencies),
            default_namespace=self._namespaces.get(request.provider.rpartition("::")[0]),
        )
        self.resources_seen.append(Resource(request.type, request.name, inputs, urn, options))
        outputs = struct_pb2.Struct()
        outputs.CopyFrom(request.object)
        outputs.update(OUTPUTS.get(request.type, {}))
        return resource_pb2.RegisterResourceResponse(urn=urn, id=request.name, object=outputs)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        urn = self.make_urn(request.parent, request.type, request.name)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=request.properties)

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        if request.tok not in ANSWERS:
            self._refuse(f"the function {request.tok}")
        answer = struct_pb2.Struct()
        answer.CopyFrom(request.args)
        answer.update(ANSWERS.get(request.tok, {}))
        response: dict[str, Any] = {"return": answer}  # a reserved word of Python
        return resource_pb2.ResourceInvokeResponse(**response)

    def Call(self, request: Any) -> NoReturn:  # noqa: N802
        self._refuse(f"the method {request.tok}")

    def RegisterStackTransform(self, _request: Any) -> NoReturn:  # noqa: N802
        self._refuse("transforms of the whole stack")

    def RegisterStackInvokeTransform(self, _request: Any) -> NoReturn:  # noqa: N802
        self._refuse("invoke transforms of the whole stack")

    def RegisterResourceHook(self, _request: Any) -> None:  # noqa: N802
        """Hooks run around operations, and there are none."""

    def RegisterErrorHook(self, _request: Any) -> None:  # noqa: N802
        """As above."""

    def cannot_see(self, what: str) -> None:
        """Make `refuse_if_blind` raise, with the first `what`."""
        self._unseen.append(what)

    def _refuse(self, what: str) -> NoReturn:
        self.cannot_see(what)
        raise NotInspectableError(what)
