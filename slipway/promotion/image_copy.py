"""Copies images to another registry by digest: an index with all its platforms, byte for byte.

`crane` does it (https://github.com/google/go-containerregistry): it copies manifests as they are, mounts layers if
both repositories are in one registry, and logs in as Docker does, credential helpers included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.errors import ConfigurationError, SlipwayError
from slipway.registry import image_digest

TAG_DIGITS = 16


@dataclass(frozen=True)
class ImageCopy:
    """`source` and `target` are repositories, without a tag; `digest` is `sha256:…`."""

    service: str
    source: str
    target: str
    digest: str

    @property
    def tag(self) -> str:
        """A registry's clean-up removes images without a tag. Not `sha256-…`, which is for referrers of an image."""
        return f"promoted-{self.digest.removeprefix('sha256:')[:TAG_DIGITS]}"


def crane(environment: Mapping[str, str]) -> str:
    """The path of `crane`; raises ConfigurationError if it is not on PATH."""
    found = shutil.which("crane", path=environment.get("PATH", os.defpath))
    if found is None:
        raise ConfigurationError(
            "`crane`, which copies images to another registry, was not found on PATH.",
            next_step="Run `make up`, or `make lab` with a cluster and a registry of your own: both install it.",
        )
    return found


def copy_image(copy: ImageCopy, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Copy the image and check its digest in the target's registry; raises SlipwayError if it was not copied.

    `environment` has PATH, and the variables that locate Docker's configuration.
    """
    program = crane(environment)
    source, target = f"{copy.source}@{copy.digest}", f"{copy.target}:{copy.tag}"
    done = subprocess.run(
        [program, "copy", source, target],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        host = copy.target.partition("/")[0]
        raise SlipwayError(
            f"{copy.service} was not copied from {source} to {copy.target}.",
            why=(done.stderr.strip().splitlines() or ["crane gave no reason."])[-1],
            next_step=f"`docker login {host}` stores credentials that may push there. No settings were changed; "
            "copied images are not copied again.",
        )
    for name in (f"{copy.target}@{copy.digest}", target):
        if (found := image_digest(name)) != copy.digest:
            raise SlipwayError(
                f"{copy.service} was copied, but its registry has {found or 'no image'} as {name}.",
                why="A registry that keeps no images of several platforms, or changes what is pushed, cannot be "
                "promoted to.",
                next_step="Use another registry, or one that stores OCI indexes as they are.",
            )
    say(f"Copied {copy.service} to {target}: the same digest.")
