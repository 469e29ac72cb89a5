"""A service's image: built here after its unit tests and pushed, promoted by digest from another environment, or built
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker_build as docker_build
from docker.utils.build import exclude_paths

from components.program import unknown
from services.builds import BASE_IMAGE_ARGUMENT, Build, Dockerfile
from services.files import is_utf_8, readable
from slipway.backend.promotion import BUILT_ELSEWHERE, IN_STAGE, UNIT_TESTS_LABEL, UNTESTED, Promotion
from slipway.state.checkpoint import SERVICE_IMAGE_TYPE, TEST_SUFFIX

TAG_LENGTH = 16
CONTENT_LABEL = "slipway.dev/content"
DOCKERFILE = "Dockerfile"
CACHE_TAG = "buildcache"
SETS_MODES = re.compile(r"--ch(?:mod|own)=|\bch(?:mod|own)\b")


@dataclass(frozen=True)
class ServiceImageArgs:
    """`context` is a folder relative to the program, `named_contexts` those of `COPY --from=NAME`, `dockerfile` a file
    if it is not the context's own.

    The image is pushed to `repository`, with `cache` the build cache too, for a build server that starts without one.
    `secrets` are values by id, in plain text; `build` is the `build` of service.yaml.
    """

    context: Path
    repository: str
    base_image: pulumi.Input[str]
    platforms: Sequence[str] = ()
    named_contexts: Mapping[str, Path] = field(default_factory=dict)
    dockerfile: Path | None = None
    build: Build = field(default_factory=Build)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    cache: bool = False


class ServiceImage(pulumi.ComponentResource):
    """An image that is pushed when its unit tests have passed: in the same build if the Dockerfile takes files from
    their stage, else in a build before it.

    `reference` is the pushed image by digest, `repository@sha256:…`. A label says which stage of its build ran the
    tests, or that there are none.
    """

    reference: pulumi.Output[str]

    def __init__(self, name: str, args: ServiceImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(SERVICE_IMAGE_TYPE, name, None, opts)
        content = pulumi.Output.from_input(args.base_image).apply(lambda reference: content_tag(args, reference))
        tests, labels, stage = [], None, args.build.test_target
        if not stage:
            labels = {UNIT_TESTS_LABEL: UNTESTED}
        elif not args.cache and Dockerfile.read(args.dockerfile or args.context / DOCKERFILE).takes_in(
            args.build.target, stage, args.named_contexts
        ):
            # The image's own build, in a preview too, cannot succeed before `stage` has been built.
            labels = {UNIT_TESTS_LABEL: f"{IN_STAGE}{stage}"}
        else:
            # The provider reads named contexts through the .dockerignore of the main one, and may miss changes in them.
            of_test = {CONTENT_LABEL: content} if args.named_contexts else None
            tests = [self._image(f"{name}{TEST_SUFFIX}", args, stage, exports=[{"cacheonly": {}}], labels=of_test)]
        # Each content has its own tag: clean-ups of untagged images never delete the image of a rollback.
        tag = content.apply(lambda hashed: f"{args.repository}:{hashed}")
        # Without an export the provider uses `push` and builds nothing of it in a preview, which would push the cache.
        # https://github.com/pulumi/pulumi-docker-build/blob/v0.0.22/provider/internal/image.go (buildable)
        exports: list[docker_build.ExportArgsDict] | None = None
        if not args.cache:
            exports = [{"raw": "type=registry"}]  # the same as `push`: `registry` has other media types
        image = self._image(name, args, args.build.target, exports=exports, tags=[tag], labels=labels, depends_on=tests)
        self.reference = image.digest.apply(partial(_by_digest, args.repository))
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
        more: dict[str, Any] = {}
        if args.dockerfile:
            more["dockerfile"] = {"location": args.dockerfile.as_posix()}
        if args.secrets:
            # Another token does not change the image, and must not rebuild it.
            more["secrets"] = pulumi.Output.secret(dict(args.secrets))
            more["ignore_secrets_in_diff_calculation"] = sorted(args.secrets)
        if args.build.ssh:
            more["ssh"] = [{"id": each} for each in args.build.ssh]
        if args.cache:
            stored = f"{args.repository}:{CACHE_TAG}"
            more["cache_from"] = [{"registry": {"ref": stored}}]
            if tags:  # every stage, also of the tests, which are built before
                to_registry = {"ref": stored, "mode": docker_build.CacheMode.MAX, "ignore_error": True}
                more["cache_to"] = [{"registry": to_registry}]
        return docker_build.Image(
            name,
            context=context,
            build_args={BASE_IMAGE_ARGUMENT: args.base_image, **args.build.args},
            platforms=[docker_build.Platform(each) for each in args.platforms] or None,
            target=target,
            exports=exports,
            labels=labels,
            tags=list(tags) or None,
            push=bool(tags and not exports),
            # A preview runs the unit tests too; the provider pushes no image then.
            build_on_preview=True,
            # The provider's delete removes the pushed image, which a rollback may need.
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on, retain_on_delete=True),
            **more,
        )


def _by_digest(repository: str, digest: str) -> str | pulumi.Output[str]:
    """The reference of the built image.

    If only file modes have changed, no input has: a preview then gets an empty digest as a known value.
    """
    return f"{repository}@{digest}" if digest or not pulumi.runtime.is_dry_run() else unknown()


class PromotedImage(pulumi.ComponentResource):
    """An image that another environment built: it is not built here, and the state says where it comes from.

    To the engine it is a ServiceImage, so that an environment that stops building keeps its resources' names.
    """

    reference: pulumi.Output[str]

    def __init__(
        self, name: str, repository: str, promotion: Promotion, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(SERVICE_IMAGE_TYPE, name, promotion.properties(), opts)
        self.reference = pulumi.Output.from_input(f"{repository}@{promotion.digest}")
        self.register_outputs({"reference": self.reference})


class PrebuiltImage(pulumi.ComponentResource):
    """An image that service.yaml names by its digest: no environment builds it."""

    reference: pulumi.Output[str]

    def __init__(self, name: str, reference: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(SERVICE_IMAGE_TYPE, name, {BUILT_ELSEWHERE: True}, opts)
        self.reference = pulumi.Output.from_input(reference)
        self.register_outputs({"reference": self.reference})


def content_tag(args: ServiceImageArgs, base_image: str) -> str:
    """Tag that changes exactly when the image could: hex digits of a hash over contexts, Dockerfile, base image,
    platforms and `build` of service.yaml. Of secrets only their names count.
    """
    digest = hashlib.sha256()
    parts = [base_image, *args.platforms, *_context_records(args.context, args.dockerfile)]
    if args.dockerfile:
        parts.append(f"dockerfile {hashlib.sha256(args.dockerfile.read_bytes()).hexdigest()}")
    written = args.build.model_dump(exclude_defaults=True, exclude={"context", "dockerfile", "platforms"})
    if written:
        parts.append(f"build {json.dumps(written, sort_keys=True)}")
    for name, folder in sorted(args.named_contexts.items()):
        parts += [f"context {name}", *_context_records(folder)]
    for part in parts:
        digest.update(part.encode(errors="surrogateescape"))
        digest.update(b"\0")
    return digest.hexdigest()[:TAG_LENGTH]


def _context_records(context: Path, dockerfile: Path | None = None) -> Iterator[str]:
    """One line per file that the build can see: path, whether executable, hash of the content."""
    for relative in visible_files(context, dockerfile):
        path = context / relative
        if path.is_symlink():
            yield f"{relative} link {path.readlink()}"
        elif path.is_file():
            executable = bool(path.stat().st_mode & 0o100)
            yield f"{relative} {executable} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def visible_files(context: Path, dockerfile: Path | None = None) -> list[str]:
    """Files, links and folders that a build of `context` can see, relative to it, in order; `dockerfile` is given if it
    is not the context's own.

    https://docs.docker.com/build/concepts/context/#filename-and-location
    """
    of_context, file = context / ".dockerignore", dockerfile or context / DOCKERFILE
    of_dockerfile = file.with_name(f"{file.name}.dockerignore")
    ignore_file = of_dockerfile if of_dockerfile.exists() else of_context
    text = ignore_file.read_text(encoding="utf-8-sig", errors="surrogateescape") if ignore_file.exists() else ""
    patterns = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    within = file.relative_to(context).as_posix() if file.is_relative_to(context) else DOCKERFILE
    return sorted(exclude_paths(str(context), patterns, dockerfile=within))


def context_problems(contexts: Sequence[Path], dockerfile: Path) -> Iterator[str]:
    """Lines about files of these contexts that the provider and a builder, or a container's user, cannot read.

    The first context is the main one, with the `dockerfile`. Modes count only if the Dockerfile does not set them.
    """
    sets_modes = SETS_MODES.search(dockerfile.read_text(encoding="utf-8", errors="replace")) is not None
    for context in contexts:
        private = []
        for name in visible_files(context, dockerfile if context == contexts[0] else None):
            path, shown = context / name, readable(context / name)
            if not is_utf_8(name):
                yield f"{shown}: its name is not UTF-8, as builders require; rename it, or list it in .dockerignore"
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
                f"{context}: only the owner can read {len(private)} of its files and folders, such as "
                f"{private[0]} (mode {mode:o}), and a pod runs as another user; umask 077 sets such modes: "
                f"`chmod -R go=rX {context}`, or COPY with --chmod"
            )


def ssh_problem(build: Build) -> str:
    """Why the builds of a service cannot use the SSH keys that they ask for; empty if they can, or ask for none."""
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    if not build.ssh or Path(socket or "-").is_socket():
        return ""
    met = f"SSH_AUTH_SOCK names {socket}, which is not a socket" if socket else "SSH_AUTH_SOCK is not set"
    return f"`build.ssh` needs an SSH agent, and {met}; start one with `eval $(ssh-agent)` and `ssh-add`"


def _is_private(path: Path) -> bool:
    mode = path.stat().st_mode
    return (path.is_dir() and mode & 0o005 != 0o005) or (path.is_file() and not mode & 0o004)
