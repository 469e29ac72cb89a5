"""Images with a compiler or a server for the templates of `slipway new`, made in the lab and kept in its registry."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.settings import load_settings

DOCKERFILE = "languages.Dockerfile"
FOLDER = Path(__file__).resolve().parent
# The build arguments of each template's Dockerfile that name an image.
ARGUMENTS = {
    "go": ("GO_IMAGE",),
    "node": ("NODE_IMAGE",),
    "java": ("MAVEN_IMAGE", "JAVA_IMAGE"),
    "static": ("NGINX_IMAGE",),
}
BUILD_SECONDS = 300


def image(template: str, exports: Mapping[str, str], scratch: Path) -> str:
    """The image for a template, `repository@sha256:…`; a minute the first time, then what BuildKit remembers of it."""
    environment = os.environ | dict(exports)  # what a shell has already is exported no more
    repository, metadata = f"{environment['SLIPWAY_REGISTRY']}/e2e/languages/{template}", scratch / f"{template}.json"
    build = ["buildctl", f"--addr=unix://{load_settings().buildkit_socket}", "build", "--frontend=dockerfile.v0"]
    build += [f"--local=context={FOLDER.parents[1] / 'lab' / 'toolchain'}", f"--local=dockerfile={FOLDER}"]
    build += [f"--opt=filename={DOCKERFILE}", f"--opt=target={template}"]
    build += [f"--opt=build-arg:BASE_IMAGE={environment['SLIPWAY_BASE_IMAGE']}", f"--metadata-file={metadata}"]
    # Compressing takes longer than anything else here.
    build += [f"--output=type=image,name={repository},push=true,compression=uncompressed"]
    done = subprocess.run(build, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return f"{repository}@{json.loads(metadata.read_text())['containerimage.digest']}"


def build_arguments(template: str, exports: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """What `build.args` of a service of this template say in an environment that reaches no public registry."""
    return dict.fromkeys(ARGUMENTS[template], image(template, exports, scratch))
