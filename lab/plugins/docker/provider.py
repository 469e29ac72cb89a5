"""The Docker provider: its one function, names of images, and logins for their registries; all else is refused."""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

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
            entries = read_registry_auth(given.string_value)
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
                self._registry_auth = read_registry_auth(request.args["registryAuth"])
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
        image = parse_image_name(name)
        access = access_to(image.registry, self._registry_auth)
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


DOCKER_HUB = "registry-1.docker.io"
DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "docker.io", "registry.hub.docker.com"})

# The grammar is that of https://pkg.go.dev/github.com/distribution/reference.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]+)?", re.ASCII)

HELPER_TIMEOUT_SECONDS = 10
HUB_KEY = "https://index.docker.io/v1/"  # where Docker keeps the login of its own registry
AUTH_KEYS = frozenset({"address", "authDisabled", "configFile", "configFileContent", "password", "username"})


@dataclass(frozen=True)
class ImageName:
    """Where an image is: the registry's host and port, the repository in it, and a tag or a digest."""

    registry: str
    repository: str
    reference: str


def parse_image_name(name: str) -> ImageName:
    """Read an image's name as Docker does: `python:3.12-slim` is `docker.io/library/python:3.12-slim`.

    A digest overrides a tag, and `latest` is used if there is neither.

    Raises:
        PluginError: it is not the name of an image.
    """
    # The first part is a registry if it looks like a host: a dot, a port, capitals or `localhost`.
    first, slash, rest = name.partition("/")
    is_host = first == "localhost" or any(sign in first for sign in ".:") or first != first.lower()
    registry, path = (first, rest) if slash and is_host else ("", name)
    match = _NAME.fullmatch(path)
    if match is None or (registry and not _HOST.fullmatch(registry)):
        raise PluginError(
            f"{name!r} is not the name of an image; "
            "write [registry[:port]/]repository[:tag][@sha256:digest] in lower case, such as python:3.12-slim"
        )
    repository, reference = match["path"], match["digest"] or match["tag"] or "latest"
    if registry and registry not in DOCKER_HUB_NAMES:
        return ImageName(registry, repository, reference)
    return ImageName(DOCKER_HUB, repository if "/" in repository else f"library/{repository}", reference)


@dataclass(frozen=True)
class Login:
    """A user name and a password, or a token in its place."""

    username: str
    password: str


@dataclass(frozen=True)
class RegistryAccess:
    """How to access a registry: whether its address was given as plain HTTP, and the login.

    `problem` says why Docker's configuration gave no login; it matters only if the registry requires one.
    """

    plain_http: bool
    login: Login | None
    problem: str = ""


def access_to(registry: str, registry_auth: list[Mapping[str, Any]]) -> RegistryAccess:
    """The entry of `registry_auth` for this host, else the login in Docker's own configuration, if any.

    Raises:
        PluginError: the entry's file is missing or has no login for the registry, or a credential helper failed.
    """
    for entry in registry_auth:
        address = str(entry["address"])
        host = _host(address)
        if host == registry or {host, registry} <= DOCKER_HUB_NAMES:
            return RegistryAccess(address.startswith("http://"), _entry_login(entry, registry))
    own = _default_config_file()
    try:
        return RegistryAccess(plain_http=False, login=_login_in(_read(own), registry) if own.is_file() else None)
    except PluginError as error:
        return RegistryAccess(plain_http=False, login=None, problem=str(error))


def read_registry_auth(value: object) -> list[Mapping[str, Any]]:
    """The provider's setting, which the SDK sends as JSON.

    Raises:
        ValueError: it is no list of valid entries; the message says why.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not valid JSON: {error}") from error
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"must be a list of objects such as {{'address': 'registry.example.org'}}, not {value!r}")
    for entry in value:
        if unknown := sorted(entry.keys() - AUTH_KEYS):
            raise ValueError(f"has an entry with {', '.join(unknown)}; the keys are {', '.join(sorted(AUTH_KEYS))}")
        if not isinstance(entry.get("address"), str) or not entry["address"]:
            raise ValueError("has an entry without an address")
    return value


def _entry_login(entry: Mapping[str, Any], registry: str) -> Login | None:
    """An entry's login, in the official plugin's order: user name, configuration file's content, its path."""
    disabled = entry.get("authDisabled")
    if disabled is True or disabled == "true":
        return None
    if username := entry.get("username") or os.environ.get("DOCKER_REGISTRY_USER"):
        return Login(username, entry.get("password") or os.environ.get("DOCKER_REGISTRY_PASS") or "")
    if content := entry.get("configFileContent"):
        return _login_in(_parse(content, "configFileContent of registryAuth"), registry)
    chosen = entry.get("configFile")
    return _login_in(_read(Path(chosen).expanduser() if chosen else _default_config_file()), registry)


def _login_in(config: Mapping[str, Any], registry: str) -> Login | None:
    for key in _keys(registry):
        if helper := (config.get("credHelpers") or {}).get(key) or config.get("credsStore"):
            return _ask_helper(helper, key)
    logins = config.get("auths") or {}
    matching = [logins[name] for key in _keys(registry) for name in logins if name == key or _host(name) == key]
    return next((login for entry in matching if (login := _decode(entry))), None)


def _decode(entry: Mapping[str, str]) -> Login | None:
    if entry.get("username"):
        return Login(entry["username"], entry.get("password", ""))
    try:
        username, _, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(username, password.rstrip("\0")) if username else None


def _ask_helper(helper: str, key: str) -> Login | None:
    """Docker's protocol: the registry on stdin, JSON on stdout, an exit code for "no such login"."""
    if not re.fullmatch(r"[\w.-]+", helper):
        raise PluginError(f"Docker's configuration has the credential helper {helper!r}, which is not a program name")
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [command, "get"], input=key, capture_output=True, text=True, timeout=HELPER_TIMEOUT_SECONDS, check=False
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise PluginError(f"{command}, which Docker's configuration names for {key}, failed: {error}") from error
    return Login(answer["Username"], answer["Secret"]) if answer.get("Username") else None


def _default_config_file() -> Path:
    """Docker's own configuration: `DOCKER_CONFIG` may name the folder or, for the plugin, the file."""
    if chosen := os.environ.get("DOCKER_CONFIG"):
        path = Path(chosen)
        return path / "config.json" if path.is_dir() else path
    return Path.home() / ".docker" / "config.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise PluginError(
            f"registryAuth needs a login, but {path} cannot be read ({error.strerror}); "
            "give username and password, name another configFile, or set authDisabled"
        ) from error


def _parse(content: str, where: str) -> Mapping[str, Any]:
    try:
        config = json.loads(content)
    except json.JSONDecodeError as error:
        raise PluginError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise PluginError(f"{where} is not a Docker configuration: it is not a JSON object")
    return config


def _keys(registry: str) -> Iterable[str]:
    return (HUB_KEY, *sorted(DOCKER_HUB_NAMES)) if registry == DOCKER_HUB else (registry,)


def _host(address: str) -> str:
    return re.sub(r"^https?://", "", address).partition("/")[0]
