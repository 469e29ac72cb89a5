"""A service's image: built here, its unit tests first, and pushed; or promoted from another environment by digest."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from docker.utils.build import exclude_paths

from slipway.backend.promotion import Promotion
from slipway.state.checkpoint import SERVICE_IMAGE_TYPE

TAG_LENGTH = 16
CONTENT_LABEL = "slipway.dev/content"
DOCKERFILE = "Dockerfile"
SETS_MODES = re.compile(r"--ch(?:mod|own)=|\bch(?:mod|own)\b")


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
        digest.update(part.encode(errors="surrogateescape"))
        digest.update(b"\0")
    return digest.hexdigest()[:TAG_LENGTH]


def _context_records(context: Path) -> Iterator[str]:
    """One line a file that the build can see: path, whether executable, hash of the content."""
    for relative in visible_files(context):
        path = context / relative
        if path.is_symlink():
            yield f"{relative} link {path.readlink()}"
        elif path.is_file():
            executable = bool(path.stat().st_mode & 0o100)
            yield f"{relative} {executable} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def visible_files(context: Path) -> list[str]:
    """Files, links and folders that a build of `context` can see, relative to it, in order.

    https://docs.docker.com/build/concepts/context/#filename-and-location
    """
    of_dockerfile, of_context = context / f"{DOCKERFILE}.dockerignore", context / ".dockerignore"
    ignore_file = of_dockerfile if of_dockerfile.exists() else of_context
    text = ignore_file.read_text(encoding="utf-8-sig", errors="surrogateescape") if ignore_file.exists() else ""
    patterns = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return sorted(exclude_paths(str(context), patterns, dockerfile=DOCKERFILE))


def context_problems(contexts: Iterable[Path], dockerfile: Path) -> Iterator[str]:
    """What of these contexts neither the provider nor a builder can read, or a container's user could not, a line each.

    Modes count only where the Dockerfile leaves them as they are.
    """
    sets_modes = SETS_MODES.search(dockerfile.read_text(encoding="utf-8", errors="replace")) is not None
    for context in contexts:
        private = []
        for name in visible_files(context):
            path, shown = context / name, f"{context}/{name}".encode(errors="surrogateescape").decode(errors="replace")
            if any("\udc80" <= character <= "\udcff" for character in name):
                yield f"{shown}: its name is no UTF-8, which no builder takes; rename it, or list it in .dockerignore"
            elif path.is_symlink() and not path.exists():
                yield (
                    f"{shown}: it is a link to {path.readlink()}, which does not exist; remove it, or list it in "
                    ".dockerignore"
                )
            elif (path.is_file() or path.is_dir()) and not os.access(path, os.R_OK):
                yield f"{shown}: it cannot be read; let this user read it, or list it in .dockerignore"
            elif not path.is_symlink() and name not in (DOCKERFILE, ".dockerignore") and _is_private(path):
                private.append(name)
        if private and not sets_modes:
            mode = (context / private[0]).stat().st_mode & 0o777
            yield (
                f"{context}: {len(private)} of its files and folders can be read by their owner alone, such as "
                f"{private[0]} (mode {mode:o}), and a pod runs as another user; a clone made under umask 077 is like "
                f"that: `chmod -R go=rX {context}`, or COPY with --chmod"
            )


def _is_private(path: Path) -> bool:
    mode = path.stat().st_mode
    return (path.is_dir() and mode & 0o005 != 0o005) or (path.is_file() and not mode & 0o004)
