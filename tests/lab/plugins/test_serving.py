"""What every plugin does alike: print its port, turn errors into statuses, and end without a word."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from lab.plugins.serving import PluginError

PLUGIN = """
import sys, time
from lab.plugins import serving
serving.spare_the_sdk()
import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
assert not hasattr(sys.modules["pulumi"], "Output"), "the SDK was loaded after all"

class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    def Read(self, request, context):
        raise serving.PluginError("no such thing", grpc.StatusCode.NOT_FOUND)
    def Delete(self, request, context):
        return {}["missing"]
    def Cancel(self, request, context):
        return Empty()
    def GetSchema(self, request, context):
        time.sleep(60)

serving.serve(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(Plugin(), server),
              on_stop=lambda: print("stopped"))
"""


@pytest.fixture
def plugin() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PLUGIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def stub(plugin: subprocess.Popen[str]) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    assert plugin.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{int(plugin.stdout.readline())}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.Cancel(Empty(), wait_for_ready=True, timeout=10)
        yield stub


def failure(call: Callable[[], object]) -> grpc.Call:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    assert isinstance(raised.value, grpc.Call)
    return raised.value


def test_error_with_a_code(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    error = failure(lambda: stub.Read(provider_pb2.ReadRequest()))

    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")


def test_unimplemented_method(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    assert failure(lambda: stub.Call(provider_pb2.CallRequest())).code() == grpc.StatusCode.UNIMPLEMENTED


def test_defect_is_named_and_its_traceback_kept_from_the_message(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    error = failure(lambda: stub.Delete(provider_pb2.DeleteRequest()))

    assert error.code() == grpc.StatusCode.INTERNAL
    assert error.details() == "the fallback plugin failed: KeyError: 'missing'"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_quietly_though_a_call_is_under_way(
    plugin: subprocess.Popen[str], stub: provider_pb2_grpc.ResourceProviderStub, number: signal.Signals
) -> None:
    stub.GetSchema.future(provider_pb2.GetSchemaRequest())
    time.sleep(0.1)

    plugin.send_signal(number)

    output, errors = plugin.communicate(timeout=5)
    assert (plugin.returncode, output, errors) == (0, "stopped\n", "")


def test_end_of_stdin_ends_it_quietly(
    plugin: subprocess.Popen[str], stub: provider_pb2_grpc.ResourceProviderStub
) -> None:
    assert stub is not None
    assert plugin.poll() is None

    output, errors = plugin.communicate(timeout=5)  # closes stdin, as a dying engine does

    assert (plugin.returncode, output, errors) == (0, "stopped\n", "")


def test_plugin_error_is_an_unknown_error_by_default() -> None:
    assert PluginError("x").code == grpc.StatusCode.UNKNOWN
