"""A service's image: built here, its unit tests first, and pushed; or promoted from another environment by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from docker.utils.build import exclude_paths

from slipway.backend.promotion import SERVICE_IMAGE_TYPE, Promotion

TAG_LENGTH = 16
CONTENT_LABEL = "slipway.dev/content"


@dataclass(frozen=True)
class ServiceImageArgs:
    """`context` is the service's folder relative to the program, `named_contexts` those of `COPY --from=NAME`.

    `repository` is where the image is pushed.
    """

    context: Path
    repository: str
    base_image: pulumi.Input[str]
    platforms: Sequence[docker_build.Platform] = ()
    named_contexts: Mapping[str, Path] = field(default_factory=dict)


class ServiceImage(pulumi.ComponentResource):
    """Two builds of one Dockerfile: stage `test` must succeed before stage `runtime` is built and pushed.

    `reference` is the pushed image by digest, `repository@sha256:…`.
    """

    reference: pulumi.Output[str]

    def __init__(self, name: str, args: ServiceImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(SERVICE_IMAGE_TYPE, name, None, opts)
        content = pulumi.Output.from_input(args.base_image).apply(lambda reference: content_tag(args, reference))
        # The provider reads named contexts through the .dockerignore of the main one, and may miss that they changed.
        labels = {CONTENT_LABEL: content} if args.named_contexts else None
        tested = self._image(f"{name}-test", args, "test", exports=[{"cacheonly": {}}], labels=labels)
        # A tag of its own for each content: clean-ups of untagged images never take a rollback's target.
        tag = content.apply(lambda hashed: f"{args.repository}:{hashed}")
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
        labels: Mapping[str, pulumi.Input[str]] | None = None,
        tags: Sequence[pulumi.Output[str]] = (),
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> docker_build.Image:
        context: docker_build.BuildContextArgsDict = {"location": args.context.as_posix()}
        if args.named_contexts:
            context["named"] = {
                called: {"location": folder.as_posix()} for called, folder in sorted(args.named_contexts.items())
            }
        return docker_build.Image(
            name,
            context=context,
            build_args={"BASE_IMAGE": args.base_image},
            platforms=list(args.platforms) or None,
            target=target,
            exports=exports,
            labels=labels,
            tags=list(tags) or None,
            push=bool(tags),
            # A preview runs the unit tests too; the provider pushes nothing then.
            build_on_preview=True,
            # The provider's delete removes what was pushed, and with it a rollback's target.
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on, retain_on_delete=True),
        )


class PromotedImage(pulumi.ComponentResource):
    """An image that another environment built: nothing of it is built here, and the state says where it comes from.

    It is a ServiceImage to the engine, so that an environment which stops building keeps its resources' names.
    """

    reference: pulumi.Output[str]

    def __init__(
        self, name: str, repository: str, promotion: Promotion, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(SERVICE_IMAGE_TYPE, name, promotion.properties(), opts)
        self.reference = pulumi.Output.from_input(f"{repository}@{promotion.digest}")
        self.register_outputs({"reference": self.reference})


def content_tag(args: ServiceImageArgs, base_image: str) -> str:
    """Tag that changes exactly when the image could: hex digits of a hash over contexts, base image and platforms."""
    digest = hashlib.sha256()
    parts = [base_image, *map(str, args.platforms), *_context_records(args.context)]
    for name, folder in sorted(args.named_contexts.items()):
        parts += [f"context {name}", *_context_records(folder)]
    for part in parts:
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
