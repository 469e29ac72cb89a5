"""The provider's service: one function, and a clear refusal of everything else."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from lab.plugins.docker import credentials
from lab.plugins.serving import PluginError

SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d"  # noqa: S105 -- Pulumi's mark of special values
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- the kind of special value that a secret is
Context = grpc.ServicerContext
VERSION = "5.2.0"
GET_REGISTRY_IMAGE = "docker:index/getRegistryImage:getRegistryImage"
REGISTRY_AUTH = "docker:index/ProviderRegistryAuth:ProviderRegistryAuth"


class DockerProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One engine's provider."""

    def __init__(self) -> None:
        self._registry_auth: list[Mapping[str, Any]] = []

    def register(self, server: grpc.Server) -> None:
        """Make `server` answer for this provider."""
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self, server)

    def GetPluginInfo(self, _request: Empty, _context: Context) -> plugin_pb2.PluginInfo:  # noqa: N802 -- the protocol's
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(  # noqa: N802
        self, _request: provider_pb2.GetSchemaRequest, _context: Context
    ) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=schema())

    def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, _context: Context
    ) -> provider_pb2.CheckResponse:
        given = request.news.fields.get("registryAuth")
        if given is None or given.WhichOneof("kind") != "string_value":  # not set, or a secret, or not yet known
            return provider_pb2.CheckResponse(inputs=request.news)
        try:
            entries = credentials.read_registry_auth(given.string_value)
        except ValueError as error:
            failure = provider_pb2.CheckFailure(property="registryAuth", reason=f"registryAuth {error}")
            return provider_pb2.CheckResponse(failures=[failure])
        checked = Struct()
        checked.CopyFrom(request.news)
        if any("password" in entry for entry in entries):
            checked.update({"registryAuth": {SECRET_SIGNATURE: SECRET, "value": given.string_value}})
        return provider_pb2.CheckResponse(inputs=checked)

    def DiffConfig(self, request: provider_pb2.DiffRequest, _context: Context) -> provider_pb2.DiffResponse:  # noqa: N802
        old, new = request.old_inputs.fields, request.news.fields
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=kind, diffs=changed)

    def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, _context: Context
    ) -> provider_pb2.ConfigureResponse:
        # An HTTP client takes a tenth of a second to load: do it while the program runs up to its first call.
        threading.Thread(target=importlib.import_module, args=("lab.plugins.docker.registry",), daemon=True).start()
        if "registryAuth" in request.args:
            try:
                self._registry_auth = credentials.read_registry_auth(request.args["registryAuth"])
            except ValueError as error:
                raise PluginError(f"docker:registryAuth {error}") from error
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    def Invoke(self, request: provider_pb2.InvokeRequest, _context: Context) -> provider_pb2.InvokeResponse:  # noqa: N802
        if request.tok != GET_REGISTRY_IMAGE:
            _refuse(f"the function {request.tok}")
        arguments = dict(request.args)
        name = arguments.get("name")
        if not isinstance(name, str):
            failure = provider_pb2.CheckFailure(property="name", reason="name must be the name of an image")
            return provider_pb2.InvokeResponse(failures=[failure])
        from lab.plugins.docker import registry  # noqa: PLC0415 -- see Configure

        insecure = arguments.get("insecureSkipVerify") is True
        image = credentials.parse_image_name(name)
        access = credentials.access_to(image.registry, self._registry_auth)
        digest = registry.digest_of(name, image, access, verify_tls=not insecure)
        result = Struct()
        result.update({"id": digest, "insecureSkipVerify": insecure, "name": name, "sha256Digest": digest})
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(result)  # a keyword in Python
        return response

    def Cancel(self, _request: Empty, _context: Context) -> Empty:  # noqa: N802
        return Empty()

    def Check(self, request: provider_pb2.CheckRequest, _context: Context) -> NoReturn:  # noqa: N802
        _refuse_resource(request.urn)

    def Diff(self, request: provider_pb2.DiffRequest, _context: Context) -> NoReturn:  # noqa: N802
        _refuse_resource(request.urn)

    def Create(self, request: provider_pb2.CreateRequest, _context: Context) -> NoReturn:  # noqa: N802
        _refuse_resource(request.urn)

    def Read(self, request: provider_pb2.ReadRequest, _context: Context) -> NoReturn:  # noqa: N802
        _refuse_resource(request.urn)

    def Update(self, request: provider_pb2.UpdateRequest, _context: Context) -> NoReturn:  # noqa: N802
        _refuse_resource(request.urn)

    def Delete(self, request: provider_pb2.DeleteRequest, _context: Context) -> NoReturn:  # noqa: N802
        _refuse_resource(request.urn)


def _refuse_resource(urn: str) -> NoReturn:
    _refuse(f"the resource {urn.split('::')[2].rsplit('$', maxsplit=1)[-1]}")


def _refuse(what: str) -> NoReturn:
    raise PluginError(
        f"Slipway's fallback docker provider does not have {what}, only the function getRegistryImage; "
        f"install the official plugin with `pulumi plugin install resource docker {VERSION} --reinstall`"
    )


def schema() -> str:
    """JSON of a package schema: https://www.pulumi.com/docs/iac/extending-pulumi/schema/."""
    text, flag = {"type": "string"}, {"type": "boolean"}
    settings = {
        "disableDockerDaemonCheck": flag,
        "host": text,
        "registryAuth": {"type": "array", "items": {"$ref": f"#/types/{REGISTRY_AUTH}"}},
    }
    inputs = {"name": text, "insecureSkipVerify": flag}
    outputs = {"id": text, "sha256Digest": text, **inputs}
    entry = {
        "address": text,
        "authDisabled": flag,
        "configFile": text,
        "configFileContent": text,
        "password": text | {"secret": True},
        "username": text,
    }
    package = {
        "name": "docker",
        "version": VERSION,
        "description": "The part of the docker package that needs no Docker engine.",
        "config": {"variables": settings},
        "types": {REGISTRY_AUTH: {"type": "object", "properties": entry, "required": ["address"]}},
        "provider": {"properties": settings, "inputProperties": settings},
        "functions": {
            GET_REGISTRY_IMAGE: {
                "description": "Reads the digest of an image from a registry.",
                "inputs": {"type": "object", "properties": inputs, "required": ["name"]},
                "outputs": {"type": "object", "properties": outputs, "required": ["id", "name", "sha256Digest"]},
            }
        },
    }
    return json.dumps(package)
