"""Makes images from layers and pushes them over the registry's HTTP API, without any container engine."""

from __future__ import annotations

import hashlib
import json
import platform
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

import httpx

from slipway.errors import SlipwayError

RECIPE_LABEL = "dev.slipway.recipe"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CHUNK_BYTES = 1024 * 1024
# `platform.machine()` -> the name that images use
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


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


def architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


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
        for folder in _folders_of(entries):
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


def _folders_of(entries: Sequence[Entry]) -> list[str]:
    """The parent folders of the entries, listed explicitly: the unpacker would choose their modes otherwise."""
    parents = {str(parent) for entry in entries for parent in PurePosixPath(entry.path.lstrip("/")).parents}
    return sorted(parents - {"."})


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
        document = json.dumps(_config_document(layers, config), sort_keys=True).encode()
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


def _config_document(layers: Sequence[Layer], config: ImageConfig) -> dict[str, Any]:
    return {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Cmd": list(config.command),
            "Entrypoint": list(config.entrypoint),
            "Env": [f"{key}={value}" for key, value in config.environment.items()],
            "User": config.user,
            "Labels": {RECIPE_LABEL: config.recipe},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def _require(answer: httpx.Response, status: int, action: str) -> None:
    if answer.status_code != status:
        raise SlipwayError(
            f"the registry refused to {action}: {answer.status_code}",
            why=answer.text.strip()[-500:],
            next_step="see `slipway lab status` for the registry's log; a full disk is the usual reason",
        )
