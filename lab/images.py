"""Images: the registry that keeps them, BuildKit that builds them, and images that the lab makes without either."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

import httpx

from lab.toolchain.go import ensure_go
from lab.toolchain.parts import architecture
from slipway.errors import SlipwayError
from slipway.progress import Progress

from .proc import Listen
from .processes import Daemon, command_probe, http_probe
from .settings import IMAGE_FOLDER, LabSettings
from .system import make_folder, program, run, write_text

RECIPE_LABEL = "dev.slipway.recipe"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CHUNK_BYTES = 1024 * 1024
_PAUSE_SOURCE = Path(__file__).parent / "pause"
_PAUSE_REPOSITORY, _PAUSE_TAG = f"{IMAGE_FOLDER}/pause", "1"
BUILDER_NAME = "slipway-lab"
# Above this size of the build cache, BuildKit removes its oldest entries.
CACHE_LIMIT = "8GB"

_BUILDKIT_CONFIG = """\
# Written by `slipway lab up`.
root = "{root}"

[grpc]
  address = ["unix://{socket}"]

[worker.oci]
  enabled = true
  binary = "{runc}"
  snapshotter = "{snapshotter}"
  networkMode = "host"
  defaultCgroupParent = "{cgroup}/buildkit"
  max-parallelism = 4
  gc = true

  [[worker.oci.gcpolicy]]
    all = true
    maxUsedSpace = "{cache_limit}"

[worker.containerd]
  enabled = false

[registry."{registry}"]
  http = true
"""


def registry_config_file(settings: LabSettings) -> Path:
    return settings.config / "registry.yml"


def write_registry_config(settings: LabSettings) -> None:
    storage = make_folder(settings.home / "registry")
    config = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        # Deletes are allowed, so that a registry that grew too large can be tidied with its own API.
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": settings.registry_address, "secret": "one process, so no secret to share"},
    }
    write_text(registry_config_file(settings), json.dumps(config, indent=2) + "\n")


def registry_daemon(settings: LabSettings) -> Daemon:
    return Daemon(
        name="registry",
        command=(program("docker-registry"), "serve", str(registry_config_file(settings))),
        probe=http_probe(f"http://{settings.registry_address}/v2/"),
        listens=(Listen("127.0.0.1", settings.ports.registry),),
        inputs=(registry_config_file(settings),),
    )


@dataclass(frozen=True)
class Layer:
    """A compressed layer on disk. `diff_id` is the digest of its uncompressed archive."""

    path: Path
    digest: str
    diff_id: str


@dataclass(frozen=True)
class ImageConfig:
    """How a container of the image starts."""

    recipe: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


def compress_layer(archive: IO[bytes], target: Path) -> Layer:
    """Write the tar stream `archive` to `target` as gzip, with the same bytes in every run."""
    whole, packed = hashlib.sha256(), hashlib.sha256()
    compressor = zlib.compressobj(level=4, wbits=31)
    with target.open("wb") as stream:

        def write(data: bytes) -> None:
            packed.update(data)
            stream.write(data)

        while chunk := archive.read(_CHUNK_BYTES):
            whole.update(chunk)
            write(compressor.compress(chunk))
        write(compressor.flush())
    return Layer(target, f"sha256:{packed.hexdigest()}", f"sha256:{whole.hexdigest()}")


@dataclass(frozen=True)
class Entry:
    """A file of a small layer; with `link` set, a symbolic link."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    link: str = ""


def archive_of(entries: Sequence[Entry]) -> BytesIO:
    """A tar archive of a few files, all owned by root and with the same old timestamp."""
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        # The folders are listed explicitly: the unpacker would choose their modes otherwise.
        parents = {str(parent) for entry in entries for parent in PurePosixPath(entry.path.lstrip("/")).parents}
        for folder in sorted(parents - {"."}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for entry in entries:
            info = tarfile.TarInfo(entry.path.lstrip("/"))
            info.mode = entry.mode
            if entry.link:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
            info.size = len(entry.content)
            tar.addfile(info, BytesIO(entry.content))
    archive.seek(0)
    return archive


class Registry:
    """The few calls of the distribution API that a push needs."""

    def __init__(self, address: str) -> None:
        # The registry is on loopback: the host's proxies are not used.
        self._client = httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=120)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def recipe(self, repository: str, tag: str) -> str | None:
        """The recipe in an image's label; `None` if the image is missing or incomplete."""
        manifest = self._client.get(f"/v2/{repository}/manifests/{tag}", headers={"Accept": _MANIFEST})
        if manifest.status_code != 200:
            return None
        document = manifest.json()
        blobs = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
        if not all(self._has_blob(repository, digest) for digest in blobs):
            return None
        config = self._client.get(f"/v2/{repository}/blobs/{blobs[0]}").json()
        label = config["config"].get("Labels", {}).get(RECIPE_LABEL)
        return label if isinstance(label, str) else None

    def push(self, repository: str, tag: str, layers: Sequence[Layer], config: ImageConfig) -> str:
        """Push an image and return its digest. The tag appears last: an interrupted push leaves no partial image."""
        for layer in layers:
            self._push_blob(repository, layer.digest, layer.path)
        start = {
            "Cmd": list(config.command),
            "Entrypoint": list(config.entrypoint),
            "Env": [f"{key}={value}" for key, value in config.environment.items()],
            "User": config.user,
            "Labels": {RECIPE_LABEL: config.recipe},
        }
        rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
        description = {"architecture": architecture(), "os": "linux", "config": start, "rootfs": rootfs}
        document = json.dumps(description, sort_keys=True).encode()
        config_digest = f"sha256:{hashlib.sha256(document).hexdigest()}"
        self._push_blob(repository, config_digest, document)
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": config_digest, "size": len(document)},
            "layers": [
                {"mediaType": _LAYER, "digest": layer.digest, "size": layer.path.stat().st_size} for layer in layers
            ],
        }
        answer = self._client.put(
            f"/v2/{repository}/manifests/{tag}", content=json.dumps(manifest), headers={"Content-Type": _MANIFEST}
        )
        _require(answer, 201, f"push {repository}:{tag}")
        return answer.headers["Docker-Content-Digest"]

    def _has_blob(self, repository: str, digest: str) -> bool:
        return self._client.head(f"/v2/{repository}/blobs/{digest}").status_code == 200

    def _push_blob(self, repository: str, digest: str, content: bytes | Path) -> None:
        if self._has_blob(repository, digest):
            return
        started = self._client.post(f"/v2/{repository}/blobs/uploads/")
        _require(started, 202, f"begin an upload to {repository}")
        body = content if isinstance(content, bytes) else _chunks(content)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        answer = self._client.put(
            httpx.URL(started.headers["Location"]).copy_merge_params({"digest": digest}),
            content=body,
            headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
        )
        _require(answer, 201, f"upload {digest} to {repository}")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _require(answer: httpx.Response, status: int, action: str) -> None:
    if answer.status_code != status:
        raise SlipwayError(
            f"the registry refused to {action}: {answer.status_code}",
            why=answer.text.strip()[-500:],
            next_step="see `slipway lab status` for the registry's log; a full disk is the usual reason",
        )


def ensure_pause_image(settings: LabSettings, progress: Progress) -> None:
    """Build and push the image of the process that holds a pod's namespaces, from the few lines of Go in lab/pause."""
    recipe = hashlib.sha256(b"".join((_PAUSE_SOURCE / name).read_bytes() for name in ("main.go", "go.mod"))).hexdigest()
    with Registry(settings.registry_address) as registry, tempfile.TemporaryDirectory() as folder:
        if registry.recipe(_PAUSE_REPOSITORY, _PAUSE_TAG) == recipe:
            return
        go, target = ensure_go(progress).executable, Path(folder) / "pause"
        arguments = ["-C", str(_PAUSE_SOURCE), "-trimpath", "-ldflags=-s -w -buildid=", "-o", str(target), "."]
        run(
            [str(go), "build", *arguments],
            environment={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"},
            timeout_seconds=300,
        )
        entry = Entry("pause", target.read_bytes(), mode=0o755)
        layer = compress_layer(archive_of([entry]), Path(folder) / "layer.tar.gz")
        # Not root: the process needs no rights at all.
        config = ImageConfig(recipe, entrypoint=("/pause",), environment={"PATH": "/"}, user="65535:65535")
        registry.push(_PAUSE_REPOSITORY, _PAUSE_TAG, [layer], config)


def buildkit_config_file(settings: LabSettings) -> Path:
    return settings.config / "buildkitd.toml"


def buildkit_temporary_folder(settings: LabSettings) -> Path:
    """BuildKit's temporary folder. It contains mounts, so it is where the lab's clean-up looks."""
    return settings.run / "buildkit-tmp"


def buildx_folder(settings: LabSettings) -> Path:
    """The folder that BUILDX_CONFIG names: builders are in `instances/`, the chosen one in `current`."""
    return settings.home / "buildx"


def write_buildkit_config(settings: LabSettings, snapshotter: str) -> None:
    make_folder(buildkit_temporary_folder(settings))
    write_text(
        buildkit_config_file(settings),
        _BUILDKIT_CONFIG.format(
            root=settings.home / "buildkit",
            socket=settings.buildkit_socket,
            runc=program("runc"),
            snapshotter=snapshotter,
            cgroup=settings.cgroup,
            cache_limit=CACHE_LIMIT,
            registry=settings.registry_address,
        ),
    )


def write_builder(settings: LabSettings) -> None:
    """Register the daemon as buildx's current builder, so that a build that names no builder uses it."""
    folder = make_folder(buildx_folder(settings))
    for name in ("instances", "defaults", "activity"):
        make_folder(folder / name)
    node = {"Name": f"{BUILDER_NAME}0", "Endpoint": f"unix://{settings.buildkit_socket}"}
    instance = {"Name": BUILDER_NAME, "Driver": "remote", "Nodes": [node], "Dynamic": False}
    write_text(folder / "instances" / BUILDER_NAME, json.dumps(instance))
    # Global: for every Docker endpoint or context of the user.
    write_text(folder / "current", json.dumps({"Key": "", "Name": BUILDER_NAME, "Global": True}))


def buildkitd(settings: LabSettings) -> Daemon:
    socket = settings.buildkit_socket
    return Daemon(
        name="buildkitd",
        command=(program("buildkitd"), "--config", str(buildkit_config_file(settings))),
        probe=command_probe(["buildctl", "--addr", f"unix://{socket}", "debug", "workers"]),
        socket=socket,
        inputs=(buildkit_config_file(settings),),
        environment={"TMPDIR": str(buildkit_temporary_folder(settings))},
    )
