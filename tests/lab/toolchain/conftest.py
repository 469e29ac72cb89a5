"""A cache, a PATH and a download site of each test's own."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from lab.toolchain.go import Go, find_go
from lab.toolchain.parts import GoBuild, Part, Release, VersionQuestion
from slipway.progress import Progress

INHERITED = {name: os.environ[name] for name in ("PATH", "HOME")}
REAL_GO = find_go()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache, data and home folder below `tmp_path`; PATH is an empty folder and the system's."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def on_path(home: Path) -> Callable[[str, str], Path]:
    """Puts a shell script with this name and body on PATH."""

    def put(name: str, body: str) -> Path:
        return write_script(home / "path" / name, body)

    return put


@pytest.fixture
def screen() -> io.StringIO:
    """What the progress of a test prints, as plain lines."""
    return io.StringIO()


@pytest.fixture
def progress(screen: io.StringIO) -> Progress:
    return Progress(Console(file=screen, width=200))


def write_script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def archive(scripts: dict[str, str]) -> bytes:
    """A release archive: `bin/NAME` for every name, with a script of that body."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in scripts.items():
            content = f"#!/bin/sh\n{body}\n".encode()
            member = tarfile.TarInfo(f"bin/{name}")
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Site:
    """A download site: `files` by path. `cut` lists for a path at how many bytes each answer in turn breaks off,
    `stall` says where it stops and stays open, `hang` paths never answer, and with `refuse` all get HTTP 403.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.stall: dict[str, int] = {}
        self.refuse = False
        self.hang: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def offer(self, name: str, content: bytes, checksums: str | None = None) -> Release:
        """Publish one file; with the right checksum unless `checksums` says another text."""
        right = f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        self.files[f"/{name}"] = content
        self.files[f"/{name}.sha256"] = (right if checksums is None else checksums).encode()
        return Release({f"{self.url}/{name}": f"{self.url}/{name}.sha256"})

    def offer_archive(self, scripts: dict[str, str], checksums: str | None = None) -> Release:
        """Publish `tool.tar.gz` with these scripts, by name."""
        return self.offer("tool.tar.gz", archive(scripts), checksums)

    def _handler(site) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted_range = self.headers.get("Range", "")
                site.requests.append((self.path, wanted_range))
                if self.path in site.hang:
                    site.ended.wait()
                    return
                content = site.files.get(self.path)
                if site.refuse or content is None:
                    self.send_error(403 if site.refuse else 404)
                    return
                start = int(wanted_range.removeprefix("bytes=").rstrip("-")) if wanted_range else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                cuts = site.cut.get(self.path)
                end = cuts.pop(0) if cuts else site.stall.get(self.path, len(content))
                self.wfile.write(content[start:end])
                if self.path in site.stall:
                    site.ended.wait()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: pytest's output is for the tests."""

        return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    running = Site()
    yield running
    running.close()


NOWHERE = Release({"http://127.0.0.1:1/tool.tar.gz": "http://127.0.0.1:1/tool.tar.gz.sha256"})


@pytest.fixture
def make_part(home: Path) -> Callable[..., Part]:
    """A part `tool` of version 1.2.3, built from a module folder of its own by whatever `go` is on PATH."""
    module = home / "module"
    module.mkdir()
    (module / "go.mod").write_text("module example.test/tool\n\ngo 1.20\n")
    (module / "main.go").write_text(
        'package main\n\nvar version = "none"\n\nfunc main() { println("tool v" + version) }\n'
    )

    def make(release: Release = NOWHERE, **changes: object) -> Part:
        fields: dict[str, object] = {
            "name": "tool",
            "title": "Tool",
            "version": "1.2.3",
            "executables": ("tool",),
            "question": VersionQuestion(("--version",), "v{version}"),
            "build": GoBuild(str(module), {"tool": "."}, {"main.version": "1.2.3"}),
        }
        return Part(release=release, **(fields | changes))  # type: ignore[arg-type]

    return make


FAKE_GO = """
case $1 in
  version) echo "go version go99.1.0 linux/amd64" ;;
  build)
    while [ "$1" != -o ]; do shift; done
    {before}
    printf '#!/bin/sh\\necho tool v{version}\\n' > "$2"; chmod +x "$2" ;;
esac
"""


@pytest.fixture
def fake_go(on_path: Callable[[str, str], Path]) -> Callable[..., Path]:
    """Puts a `go` on PATH that builds in no time, after doing what `before` says."""

    def put(before: str = ":", version: str = "1.2.3") -> Path:
        return on_path("go", FAKE_GO.format(before=before, version=version))

    return put


@pytest.fixture
def half_a_plugin(home: Path) -> Path:
    """The first half of a real executable on PATH, as a copy or download leaves it that was broken off."""
    content = Path(sys.executable).resolve().read_bytes()
    path = home / "path" / "pulumi-resource-tool"
    path.write_bytes(content[: len(content) // 2])
    path.chmod(0o755)
    return path


@pytest.fixture
def real_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """The machine's own Go, with the cache of compiled packages that it always has."""
    if REAL_GO is None:
        pytest.skip("no Go that is new enough, on PATH or in the toolchain")
    for name, value in INHERITED.items():
        monkeypatch.setenv(name, value)
    return REAL_GO


PLUGIN = f"""#!{sys.executable}
import sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from google.protobuf.wrappers_pb2 import StringValue
def answer(request, context):
    return StringValue(value="{{version}}")
handlers = {{{{"GetPluginInfo": grpc.unary_unary_rpc_method_handler(
    answer, request_deserializer=None, response_serializer=StringValue.SerializeToString)}}}}
server = grpc.server(ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pulumirpc.{{service}}", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
time.sleep(60)
"""


@pytest.fixture
def put_plugin() -> Callable[[Path, str], Path]:
    """Writes a real gRPC plugin that tells a version; its kind is read off its name."""

    def put(path: Path, version: str) -> Path:
        service = "LanguageRuntime" if "language" in path.name else "ResourceProvider"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PLUGIN.format(version=version, service=service))
        path.chmod(0o755)
        return path

    return put
