"""A stand-in for the engine that drives the real provider process over gRPC, against the lab's real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from lab.plugins.kubernetes import values
from lab.plugins.kubernetes.client import ApiError, Client, ClientSettings
from lab.plugins.kubernetes.kubeconfig import Overrides, connect
from slipway.paths import lab_environment_file

CHECKOUT = Path(__file__).resolve().parents[4]
Object = dict[str, Any]


@dataclass
class Log(engine_pb2_grpc.EngineServicer):
    """The engine's log, kept."""

    messages: list[engine_pb2.LogRequest] = field(default_factory=list)

    def Log(self, request: engine_pb2.LogRequest, _context: Any) -> Empty:  # noqa: N802 -- named by the service
        self.messages.append(request)
        return Empty()

    def statuses(self) -> list[str]:
        return [message.message for message in self.messages if message.ephemeral]

    def warnings(self) -> list[str]:
        return [message.message for message in self.messages if not message.ephemeral]

    def wait_for(self, text: str, seconds: float = 5.0) -> bool:
        """Whether a message with this text comes; the provider does not wait for its messages to arrive."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(text in message.message for message in list(self.messages)):
                return True
            time.sleep(0.02)
        return False


class FailedError(Exception):
    """A call the provider refused; `detail` is what it asks the engine to record."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__(error.details())
        self.detail: provider_pb2.ErrorResourceInitFailed | None = None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status = Status.FromString(value)
                self.detail = provider_pb2.ErrorResourceInitFailed()
                status.details[0].Unpack(self.detail)


@dataclass
class Resource:
    """What the engine's state has of one resource; inputs and outputs keep secrets marked."""

    urn: str
    id: str
    inputs: Object
    outputs: Object
    init_errors: list[str] = field(default_factory=list)

    @property
    def live(self) -> Object:
        return values.plain(self.outputs)


@dataclass
class Driver:
    """One configured provider and the state of what was declared through it, as the engine would keep it."""

    stub: provider_pb2_grpc.ResourceProviderStub
    log: Log
    process: subprocess.Popen[str]
    state: dict[str, Resource] = field(default_factory=dict)
    Failed = FailedError  # test files cannot import this one

    def call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self.stub, method)(request)
        except grpc.RpcError as error:
            raise FailedError(error) from error

    def recorded(self, token: str, name: str, identifier: str, inputs: Object, outputs: Object) -> Resource:
        """Take a resource into the state without any call."""
        made = Resource(self.urn(token, name), identifier, inputs, outputs)
        self.state[made.urn] = made
        return made

    def invoke(self, token: str, arguments: Object) -> Object:
        answer = self.call("Invoke", provider_pb2.InvokeRequest(tok=token, args=values.write(arguments)))
        return values.read(getattr(answer, "return"))

    def urn(self, token: str, name: str) -> str:
        return f"urn:pulumi:test::slipway::{token}::{name}"

    def check(self, token: str, name: str, inputs: Object, **more: Any) -> Object:
        urn = self.urn(token, name)
        old = self.state.get(urn)
        request = provider_pb2.CheckRequest(
            urn=urn, news=values.write(inputs), olds=values.write(old.inputs) if old else None, **more
        )
        return values.read(self.call("Check", request).inputs)

    def diff(self, token: str, name: str, inputs: Object, *, ignore: tuple[str, ...] = ()) -> provider_pb2.DiffResponse:
        old = self.state[self.urn(token, name)]
        request = provider_pb2.DiffRequest(
            id=old.id,
            urn=old.urn,
            olds=values.write(old.outputs),
            old_inputs=values.write(old.inputs),
            news=values.write(self.check(token, name, inputs)),
            ignoreChanges=ignore,
        )
        return self.call("Diff", request)

    def create(self, token: str, name: str, inputs: Object, *, preview: bool = False, timeout: float = 0) -> Resource:
        urn, checked = self.urn(token, name), self.check(token, name, inputs)
        request = provider_pb2.CreateRequest(
            urn=urn, properties=values.write(checked), preview=preview, timeout=timeout
        )
        try:
            answer = self.call("Create", request)
        except FailedError as error:
            if error.detail is not None:
                outputs = values.read(error.detail.properties)
                self.state[urn] = Resource(urn, error.detail.id, checked, outputs, list(error.detail.reasons))
            raise
        made = Resource(urn, answer.id, checked, values.read(answer.properties))
        if not preview:
            self.state[urn] = made
        return made

    def update(
        self,
        token: str,
        name: str,
        inputs: Object,
        *,
        preview: bool = False,
        timeout: float = 0,
        ignore: tuple[str, ...] = (),
    ) -> Resource:
        old, checked = self.state[self.urn(token, name)], self.check(token, name, inputs)
        request = provider_pb2.UpdateRequest(
            id=old.id,
            urn=old.urn,
            olds=values.write(old.outputs),
            old_inputs=values.write(old.inputs),
            news=values.write(checked),
            preview=preview,
            timeout=timeout,
            ignoreChanges=ignore,
        )
        try:
            answer = self.call("Update", request)
        except FailedError as error:
            if error.detail is not None:
                outputs = values.read(error.detail.properties)
                self.state[old.urn] = Resource(old.urn, old.id, checked, outputs, list(error.detail.reasons))
            raise
        made = Resource(old.urn, old.id, checked, values.read(answer.properties))
        if not preview:
            self.state[old.urn] = made
        return made

    def read(self, token: str, name: str, identifier: str = "") -> Resource | None:
        """Refresh what the state has, or import an object by its id; `None` says that it is gone."""
        urn = self.urn(token, name)
        old = self.state.get(urn)
        request = provider_pb2.ReadRequest(
            id=identifier or (old.id if old else ""),
            urn=urn,
            properties=values.write(old.outputs) if old else None,
            inputs=values.write(old.inputs) if old else None,
        )
        answer = self.call("Read", request)
        if not answer.id:
            self.state.pop(urn, None)
            return None
        found = Resource(urn, answer.id, values.read(answer.inputs), values.read(answer.properties))
        self.state[urn] = found
        return found

    def delete(self, token: str, name: str, *, timeout: float = 0) -> None:
        old = self.state[self.urn(token, name)]
        request = provider_pb2.DeleteRequest(
            id=old.id,
            urn=old.urn,
            properties=values.write(old.outputs),
            old_inputs=values.write(old.inputs),
            timeout=timeout,
        )
        self.call("Delete", request)
        del self.state[old.urn]

    def up(self, token: str, name: str, inputs: Object, **more: Any) -> str:
        """What the engine would do with a declared resource: `create`, `same`, `update` or `replace`."""
        old = self.state.get(self.urn(token, name))
        if old is None:
            self.create(token, name, inputs, **more)
            return "create"
        found = self.diff(token, name, inputs)
        if found.replaces:
            if found.deleteBeforeReplace:
                self.delete(token, name)
            else:
                self.state.pop(old.urn)
            self.create(token, name, inputs, **more)
            return "replace"
        if found.changes != provider_pb2.DiffResponse.DIFF_SOME and not old.init_errors:
            return "same"
        self.update(token, name, inputs, **more)
        return "update"


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    return str(json.loads(lab_environment_file().read_text(encoding="utf-8"))["KUBECONFIG"])


@pytest.fixture(scope="session")
def base_image() -> str:
    """An image the lab's node can pull and that has Python in it."""
    return str(json.loads(lab_environment_file().read_text(encoding="utf-8"))["SLIPWAY_BASE_IMAGE"])


@pytest.fixture(scope="session")
def cluster(kubeconfig: str) -> Client:
    """Plain access to the API server, beside the provider."""
    return Client(connect(kubeconfig, Overrides()), ClientSettings(qps=0), threading.Event())


@pytest.fixture(scope="session")
def start_provider() -> Iterator[Callable[..., Driver]]:
    """Starts a provider process and configures it; keywords are the provider's configuration."""
    log = Log()
    server = grpc.server(ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(log, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    started: list[subprocess.Popen[str]] = []

    def start(**config: Any) -> Driver:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.plugins.kubernetes", address],
            cwd=CHECKOUT,
            env={**os.environ, **config.pop("environment", {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        channel = grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}")
        driver = Driver(provider_pb2_grpc.ResourceProviderStub(channel), log, process)
        told = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        variables = {f"kubernetes:config:{key}": value for key, value in told.items()}
        driver.call("Configure", provider_pb2.ConfigureRequest(variables=variables, acceptSecrets=True))
        return driver

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=10)
    server.stop(None)


@pytest.fixture
def provider(start_provider: Callable[..., Driver], kubeconfig: str) -> Iterator[Driver]:
    """A provider of the lab's cluster, without a rate limit."""
    started = start_provider(kubeconfig=kubeconfig, kubeClientSettings={"qps": 500, "burst": 1000})
    started.log.messages.clear()
    yield started
    started.process.terminate()
    started.process.wait(timeout=10)


@pytest.fixture(scope="module")
def namespace(cluster: Client) -> Iterator[str]:
    """A namespace for one file of tests, deleted in the background when they are done."""
    name = f"provider-{uuid.uuid4().hex[:8]}"
    cluster.send("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    _wait_for_default_account(cluster, name)
    yield name
    cluster.send("DELETE", f"/api/v1/namespaces/{name}", body={"propagationPolicy": "Background"})


def _wait_for_default_account(cluster: Client, namespace: str) -> None:
    """Pods are refused until the namespace has its service account."""
    deadline = time.monotonic() + 30
    while True:
        try:
            cluster.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except ApiError:
            assert time.monotonic() < deadline, f"namespace {namespace} got no default service account"
            time.sleep(0.05)
        else:
            return
