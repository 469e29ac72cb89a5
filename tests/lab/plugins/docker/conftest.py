"""A registry with every kind of login, and the docker provider, in this process or as an engine starts it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from lab.plugins.docker.provider import DockerProvider
from lab.plugins.docker.registry import tls_context
from lab.plugins.serving import listen
from slipway.paths import lab_environment_file

MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
GET_REGISTRY_IMAGE = "docker:index/getRegistryImage:getRegistryImage"


@dataclass
class Registry:
    """A registry with the image `team/app:1.0`; `login` is `user:password` for `challenge` Basic or Bearer."""

    challenge: str = ""
    login: str = ""
    says_digest: bool = True
    status: int = 200
    delay_seconds: float = 0.0
    tls: ssl.SSLContext | None = None
    realm: str = ""
    host: str = "127.0.0.1"
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def serve(self) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"registry": self})
        server = ThreadingHTTPServer((self.host, 0), handler)
        self.address = f"{self.host}:{server.server_port}"
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.address}"


class _Handler(BaseHTTPRequestHandler):
    registry: Registry

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_request(self, _code: object = "-", _size: object = "-") -> None:
        if getattr(self, "path", ""):  # not so for a TLS greeting
            line = f"{self.command} {self.path} {self.headers.get('Authorization', '')}"
            self.registry.requests.append(line.strip())

    def log_error(self, _format: str, *_arguments: object) -> None:
        """The client's errors are what the tests are about."""

    def _answer(self, *, body: bool) -> None:
        time.sleep(self.registry.delay_seconds)
        url = urlsplit(self.path)
        if url.path == "/token":
            return self._token(parse_qs(url.query))
        if not self._is_allowed():
            return self._send(401, {"WWW-Authenticate": self._challenge()})
        if self.registry.status != 200:
            return self._send(self.registry.status)
        if url.path not in ("/v2/team/app/manifests/1.0", f"/v2/team/app/manifests/{DIGEST}"):
            return self._send(404)
        if INDEX_TYPE not in self.headers.get("Accept", ""):
            return self._send(406)
        says = {"Docker-Content-Digest": DIGEST} if self.registry.says_digest else {}
        return self._send(200, says, MANIFEST if body else b"")

    def _is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        if self.registry.challenge == "Basic":
            return given == f"Basic {base64.b64encode(self.registry.login.encode()).decode()}"
        return not self.registry.challenge or given == "Bearer the-token"

    def _challenge(self) -> str:
        if self.registry.challenge == "Basic":
            return 'Basic realm="registry"'
        realm = self.registry.realm or f"{self.registry.url}/token"
        return f'Bearer realm="{realm}",service="a registry",scope="repository:team/app:pull"'

    def _token(self, query: dict[str, list[str]]) -> None:
        expected = f"Basic {base64.b64encode(self.registry.login.encode()).decode()}" if self.registry.login else ""
        if self.headers.get("Authorization", "") != expected:
            return self._send(401)
        assert query == {"service": ["a registry"], "scope": ["repository:team/app:pull"]}
        return self._send(200, {}, b'{"access_token": "the-token"}')

    def _send(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # the client had enough of waiting
            self.end_headers()
            self.wfile.write(body)


@pytest.fixture(scope="session")
def digest() -> str:
    """What the registries say of their image."""
    return DIGEST


@pytest.fixture
def lab_image() -> str:
    """The base image in the running lab's registry."""
    return str(json.loads(lab_environment_file().read_text(encoding="utf-8"))["SLIPWAY_BASE_IMAGE"])


@pytest.fixture
def new_registry() -> Iterator[Callable[..., Registry]]:
    servers: list[ThreadingHTTPServer] = []

    def make(**settings: Any) -> Registry:
        registry = Registry(**settings)
        servers.append(registry.serve())
        return registry

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass
class Provider:
    """A running provider."""

    stub: provider_pb2_grpc.ResourceProviderStub

    def configure(self, **settings: object) -> None:
        arguments = Struct()
        arguments.update({name: json.dumps(value) for name, value in settings.items()})
        self.stub.Configure(provider_pb2.ConfigureRequest(args=arguments))

    def image(self, name: str, **arguments: Any) -> dict[str, Any]:
        given = Struct()
        given.update({"name": name, **arguments})
        request = provider_pb2.InvokeRequest(tok=GET_REGISTRY_IMAGE, args=given)
        return dict(MessageToDict(getattr(self.stub.Invoke(request, timeout=20), "return")))

    def refusal(self, name: str, **arguments: Any) -> str:
        """The message of the error that asking for the image gives."""
        with pytest.raises(grpc.RpcError) as raised:
            self.image(name, **arguments)
        return str(raised.value.details())


@pytest.fixture
def new_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Provider]]:
    """Serves providers that see no login of this machine; keyword arguments are more environment variables.

    The variables are those of the newest provider.
    """
    served: list[tuple[grpc.Server, grpc.Channel]] = []

    def start(**variables: str) -> Provider:
        monkeypatch.undo()
        for name in [name for name in os.environ if name.startswith(("DOCKER_", "SSL_"))]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": str(tmp_path / "home"), **variables}.items():
            monkeypatch.setenv(name, value)
        tls_context.cache_clear()  # as in a process of its own
        server, port = listen(DockerProvider().register)
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        served.append((server, channel))
        return Provider(provider_pb2_grpc.ResourceProviderStub(channel))

    yield start
    for server, channel in served:
        channel.close()
        server.stop(grace=None).wait()


@pytest.fixture
def started_provider(tmp_path: Path) -> Iterator[Provider]:
    """A provider in the process that the engine would start."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "SSL_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.plugins.docker", "127.0.0.1:1"],
        env={**environment, "HOME": str(tmp_path / "home")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
        yield Provider(provider_pb2_grpc.ResourceProviderStub(channel))
    assert process.stdin is not None
    process.stdin.close()  # as a dying engine does
    assert process.wait(timeout=10) == 0


@dataclass(frozen=True)
class Authority:
    """A certificate authority's bundle and a server's TLS settings signed by it."""

    bundle: Path
    tls: ssl.SSLContext


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("pki")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = _certificate(name, ca_name, key.public_key(), address)
    pem = serialization.Encoding.PEM
    bundle, server = folder / "ca.pem", folder / "server.pem"
    bundle.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server.write_bytes(private + leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server)
    return Authority(bundle, tls)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    )
