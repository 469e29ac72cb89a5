"""The provider's configuration, and what it says of everything that it does not have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2

NewProvider = Callable[..., Any]
URN = "urn:pulumi:dev::tiny::docker:index/image:Image::app"


def struct(**values: str) -> Struct:
    made = Struct()
    made.update(values)
    return made


def test_configuration_passes_unchanged(new_provider: NewProvider) -> None:
    news = {"version": "5.2.0", "host": "unix:///run/docker.sock", "disableDockerDaemonCheck": "true"}

    checked = new_provider().stub.CheckConfig(provider_pb2.CheckRequest(news=struct(**news)))

    assert MessageToDict(checked.inputs) == news
    assert not checked.failures


def test_password_in_the_configuration_becomes_secret(new_provider: NewProvider) -> None:
    auth = json.dumps([{"address": "registry.example.org", "username": "me", "password": "hidden"}])

    checked = new_provider().stub.CheckConfig(provider_pb2.CheckRequest(news=struct(registryAuth=auth)))

    assert MessageToDict(checked.inputs)["registryAuth"] == {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "value": auth,
    }


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        ("[", "registryAuth is not valid JSON"),
        ('{"address": "a"}', "registryAuth must be a list of objects"),
        ('[{"username": "me"}]', "registryAuth has an entry without an address"),
        ('[{"address": "a", "user": "me"}]', "registryAuth has an entry with user; the keys are address, authDisabled"),
    ],
)
def test_unusable_registry_auth(new_provider: NewProvider, auth: str, reason: str) -> None:
    provider = new_provider()

    checked = provider.stub.CheckConfig(provider_pb2.CheckRequest(news=struct(registryAuth=auth)))
    with pytest.raises(grpc.RpcError) as raised:
        provider.stub.Configure(provider_pb2.ConfigureRequest(args=struct(registryAuth=auth)))

    assert [failure.property for failure in checked.failures] == ["registryAuth"]
    assert checked.failures[0].reason.startswith(reason)
    assert str(raised.value.details()).startswith(f"docker:{reason}")


def test_changed_configuration_is_an_update(new_provider: NewProvider) -> None:
    stub, old = new_provider().stub, struct(host="a", context="c")

    same = stub.DiffConfig(provider_pb2.DiffRequest(old_inputs=old, news=old))
    other = stub.DiffConfig(provider_pb2.DiffRequest(old_inputs=old, news=struct(host="b", certPath="d")))

    assert same.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert other.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(other.diffs) == ["certPath", "context", "host"]
    assert not other.replaces


def test_schema_is_that_of_the_pinned_version(new_provider: NewProvider) -> None:
    stub = new_provider().stub

    schema = json.loads(stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)

    function = schema["functions"]["docker:index/getRegistryImage:getRegistryImage"]
    assert (schema["name"], schema["version"]) == ("docker", "5.2.0")
    assert set(function["outputs"]["properties"]) == {"id", "insecureSkipVerify", "name", "sha256Digest"}


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("Check", provider_pb2.CheckRequest(urn=URN)),
        ("Diff", provider_pb2.DiffRequest(urn=URN)),
        ("Create", provider_pb2.CreateRequest(urn=URN)),
        ("Read", provider_pb2.ReadRequest(urn=URN)),
        ("Update", provider_pb2.UpdateRequest(urn=URN)),
        ("Delete", provider_pb2.DeleteRequest(urn=URN)),
    ],
)
def test_resources_are_refused_naming_the_official_plugin(
    new_provider: NewProvider, method: str, request_message: Any
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(new_provider().stub, method)(request_message)

    assert raised.value.details() == (
        "Slipway's fallback docker provider does not have the resource docker:index/image:Image, only the function "
        "getRegistryImage; install the official plugin with `pulumi plugin install resource docker 5.2.0 --reinstall`"
    )


def test_unknown_function_and_unimplemented_call(new_provider: NewProvider) -> None:
    stub = new_provider().stub

    with pytest.raises(grpc.RpcError) as unknown:
        stub.Invoke(provider_pb2.InvokeRequest(tok="docker:index/getNetwork:getNetwork"))
    with pytest.raises(grpc.RpcError) as unimplemented:
        stub.Call(provider_pb2.CallRequest())

    assert "does not have the function docker:index/getNetwork:getNetwork" in str(unknown.value.details())
    assert unimplemented.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_name_is_required(new_provider: NewProvider) -> None:
    request = provider_pb2.InvokeRequest(tok="docker:index/getRegistryImage:getRegistryImage")

    answer = new_provider().stub.Invoke(request)

    assert [failure.property for failure in answer.failures] == ["name"]
