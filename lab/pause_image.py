"""The image of the process that holds a pod's namespaces, built from the few lines of Go in `lab/pause`."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from lab.toolchain.go import ensure_go
from slipway.progress import Progress

from .images import Entry, ImageConfig, Registry, archive_of, compress_layer
from .settings import IMAGE_FOLDER, LabSettings
from .shell import run

_SOURCE = Path(__file__).parent / "pause"
_REPOSITORY, _TAG = f"{IMAGE_FOLDER}/pause", "1"


def ensure(settings: LabSettings, progress: Progress) -> None:
    recipe = hashlib.sha256(b"".join((_SOURCE / name).read_bytes() for name in ("main.go", "go.mod"))).hexdigest()
    with Registry(settings.registry_address) as registry, tempfile.TemporaryDirectory() as folder:
        if registry.recipe(_REPOSITORY, _TAG) == recipe:
            return
        binary = _build(ensure_go(progress).executable, Path(folder) / "pause")
        layer = compress_layer(archive_of([Entry("pause", binary, mode=0o755)]), Path(folder) / "layer.tar.gz")
        # Not root: the process needs no rights at all.
        config = ImageConfig(recipe, entrypoint=("/pause",), environment={"PATH": "/"}, user="65535:65535")
        registry.push(_REPOSITORY, _TAG, [layer], config)


def _build(go: Path, target: Path) -> bytes:
    run(
        [str(go), "build", "-C", str(_SOURCE), "-trimpath", "-ldflags=-s -w -buildid=", "-o", str(target), "."],
        environment={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"},
        timeout_seconds=300,
    )
    return target.read_bytes()
