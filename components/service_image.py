"""Builds a service's image: its unit tests must pass, then it is pushed under a tag that says what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from docker.utils.build import exclude_paths

TAG_LENGTH = 16


@dataclass(frozen=True)
class ServiceImageArgs:
    """`context` is the service's folder relative to the program; `repository` is where the image is pushed."""

    context: Path
    repository: str
    base_image: pulumi.Input[str]
    platforms: Sequence[docker_build.Platform] = ()


class ServiceImage(pulumi.ComponentResource):
    """Two builds of one Dockerfile: stage `test` must succeed before stage `runtime` is built and pushed.

    `reference` is the pushed image by digest, `repository@sha256:…`.
    """

    reference: pulumi.Output[str]

    def __init__(self, name: str, args: ServiceImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:ServiceImage", name, None, opts)
        tested = self._image(f"{name}-test", args, "test", exports=[{"cacheonly": {}}])
        base = pulumi.Output.from_input(args.base_image)
        # A tag of its own for each content: clean-ups of untagged images never take a rollback's target.
        tag = base.apply(lambda reference: f"{args.repository}:{content_tag(args, reference)}")
        image = self._image(name, args, "runtime", tags=[tag], depends_on=[tested])
        self.reference = image.digest.apply(lambda digest: f"{args.repository}@{digest}")
        self.register_outputs({"reference": self.reference})

    def _image(
        self,
        name: str,
        args: ServiceImageArgs,
        target: str,
        *,
        exports: Sequence[docker_build.ExportArgsDict] | None = None,
        tags: Sequence[pulumi.Output[str]] = (),
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> docker_build.Image:
        return docker_build.Image(
            name,
            context={"location": args.context.as_posix()},
            build_args={"BASE_IMAGE": args.base_image},
            platforms=list(args.platforms) or None,
            target=target,
            exports=exports,
            tags=list(tags) or None,
            push=bool(tags),
            # A preview runs the unit tests too; the provider pushes nothing then.
            build_on_preview=True,
            # The provider's delete removes what was pushed, and with it a rollback's target.
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on, retain_on_delete=True),
        )


def content_tag(args: ServiceImageArgs, base_image: str) -> str:
    """Tag that changes exactly when the image could: hex digits of a hash over context, base image and platforms."""
    digest = hashlib.sha256()
    for part in (base_image, *map(str, args.platforms), *_context_records(args.context)):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:TAG_LENGTH]


def _context_records(context: Path) -> Iterator[str]:
    """One line a file that the build can see: path, whether executable, hash of the content."""
    ignore_file = context / ".dockerignore"
    patterns = ignore_file.read_text(encoding="utf-8").splitlines() if ignore_file.exists() else []
    patterns = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    for relative in sorted(exclude_paths(str(context), patterns, dockerfile="Dockerfile")):
        path = context / relative
        if path.is_symlink():
            yield f"{relative} link {path.readlink()}"
        elif path.is_file():
            executable = bool(path.stat().st_mode & 0o100)
            yield f"{relative} {executable} {hashlib.sha256(path.read_bytes()).hexdigest()}"
